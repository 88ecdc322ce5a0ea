"""A whole Switch Transformer, encoder and decoder, as the published implementation computes it, in plain PyTorch and written from its
equations: experts one after the other on what a boolean mask picks, full attention scores with the softmax in f32, keys and values of
earlier tokens kept from step to step in decoding. With HyperMoE, both matrices of a HyperExpert are generated for every token. Without,
this is the library's Switch Transformer.

It loads Hugging Face directories. In bf16 all is bf16 but the routers, as the library has them; no jitter. Where it departs from the
published code it is faster: plain functions in place of modules, no dropout, no losses of the routers.

Shapes: b sequences, s tokens each, h = d_model, a = heads * d_kv."""

import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open

from contenders.torch_experts import DTYPES

NORM_EPSILON = 1e-6
ROUTER = "router.classifier.weight"


def load_tensors(folder):
    """(key, tensor) of all files of a checkpoint."""
    index = folder / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    for name in names:
        with safe_open(folder / name, "pt") as file:
            for key in file.keys():
                yield key, file.get_tensor(key)


class KeysAndValues:
    """What attention keeps of earlier tokens. Cross-attention's are made once."""

    def __init__(self):
        self.keys = self.values = None

    def append(self, keys, values):
        if self.keys is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


class PublishedModel:
    def __init__(self, folder, dtype="f32"):
        self.config = json.loads((folder / "config.json").read_text())
        self.dtype = DTYPES[dtype]
        self.w = {key: t.to(torch.float32 if key.endswith(ROUTER) else self.dtype, copy=True) for key, t in load_tensors(folder)}
        c = self.config
        self.heads, self.d_kv, self.d_model, self.experts = c["num_heads"], c["d_kv"], c["d_model"], c["num_experts"]
        self.layers = {"encoder": c["num_layers"], "decoder": c["num_decoder_layers"]}
        self.lm_head = self.w["shared.weight" if c["tie_word_embeddings"] else "lm_head.weight"]

    def linear(self, x, key):
        return F.linear(x, self.w[f"{key}.weight"], self.w.get(f"{key}.bias"))

    def norm(self, x, key):
        deviation = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + NORM_EPSILON)
        return self.w[f"{key}.weight"] * (x * deviation).to(self.dtype)

    # ---- attention ----

    def buckets(self, distance, both_ways):
        """Of key position - query position."""
        count, bucket = self.config["relative_attention_num_buckets"], torch.zeros_like(distance)
        if both_ways:
            count //= 2
            bucket = (distance > 0).long() * count
            distance = distance.abs()
        else:
            distance = -distance.clamp(max=0)
        exact = count // 2
        scale = (count - exact) / math.log(self.config["relative_attention_max_distance"] / exact)
        large = exact + (torch.log(distance.float() / exact) * scale).long()
        return bucket + torch.where(distance < exact, distance, large.clamp(max=count - 1))

    def position_bias(self, side, queries, keys):
        """[1, heads, queries, keys]: of the last positions of so many keys."""
        positions = torch.arange(keys)
        buckets = self.buckets(positions[None, :] - positions[:, None], side == "encoder")
        table = self.w[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
        return F.embedding(buckets, table).permute(2, 0, 1)[None][:, :, keys - queries :]

    def split(self, x):
        return x.view(x.shape[0], -1, self.heads, self.d_kv).transpose(1, 2)

    def attention(self, x, key, bias, kept, source=None):
        """source: what keys and values come from, if not from x."""
        q = self.split(self.linear(x, f"{key}.q"))
        if source is not None and kept.keys is not None:
            k, v = kept.keys, kept.values
        else:
            of = x if source is None else source
            k, v = kept.append(self.split(self.linear(of, f"{key}.k")), self.split(self.linear(of, f"{key}.v")))
        scores = torch.matmul(q, k.transpose(2, 3)) + bias
        weights = F.softmax(scores.float(), dim=-1).to(self.dtype)
        return self.linear(torch.matmul(weights, v).transpose(1, 2).reshape(x.shape[0], x.shape[1], -1), f"{key}.o")

    # ---- feed-forward nets ----

    def feed_forward(self, x, key):
        return self.linear(F.relu(self.linear(x, f"{key}.wi")), f"{key}.wo")

    def route(self, x, key):
        """(gates [b, s, 1], chosen experts [b, s], which tokens an expert takes [b, s, experts]): at most expert_capacity a sequence."""
        logits = F.linear(x.float(), self.w[f"{key}.{ROUTER}"], self.w.get(f"{key}.router.classifier.bias"))
        probabilities = F.softmax(logits, dim=-1).to(self.dtype)
        gates, chosen = probabilities.max(dim=-1, keepdim=True)
        one_hot = F.one_hot(chosen[..., 0], self.experts)
        taken = one_hot * (torch.cumsum(one_hot, dim=-2) <= self.config["expert_capacity"])
        return gates, chosen[..., 0], taken.bool()

    def mixture(self, x, key, side, block):
        gates, chosen, taken = self.route(x, key)
        y = x.clone()  # tokens beyond an expert's capacity pass
        for e in range(self.experts):
            mask = taken[:, :, e]
            y[mask] = self.feed_forward(x[mask], f"{key}.experts.expert_{e}")
        y = gates * y
        return y + self.hyper_expert(x, chosen, key, side, block) if f"{key}.n_experts_embedding.weight" in self.w else y

    def hyper_expert(self, x, chosen, key, side, block):
        """x: [b, s, h], chosen: [b, s]"""
        unselected = 1 - F.one_hot(chosen, self.experts).to(self.dtype)
        selection = unselected @ self.w[f"{key}.n_experts_embedding.weight"]
        selection = self.linear(F.relu(self.linear(selection, f"{key}.embedding_process.0")), f"{key}.embedding_process.2")
        generator = f"{side}.param_gen"
        layer = self.w[f"{generator}.layer_embed.weight"][block].expand(*chosen.shape, -1)
        r = F.relu(self.linear(torch.cat([selection, layer], dim=-1), f"{generator}.decoder.linear1"))
        down = self.linear(r, f"{generator}.decoder.weight_down").view(*chosen.shape, self.d_model, -1)
        up = self.linear(r, f"{generator}.decoder.weight_up").view(*chosen.shape, -1, self.d_model)
        down_bias, up_bias = self.linear(r, f"{generator}.decoder.bias_down"), self.linear(r, f"{generator}.decoder.bias_up")
        hidden = F.relu(torch.matmul(x[:, :, None], down) + down_bias[:, :, None])
        return (torch.matmul(hidden, up) + up_bias[:, :, None])[:, :, 0]

    # ---- the model ----

    def stack(self, side, ids, bias, kept, source=None, source_bias=None):
        x = F.embedding(ids, self.w["shared.weight"])
        last = 1 if side == "encoder" else 2
        for i in range(self.layers[side]):
            block = f"{side}.block.{i}.layer"
            x = x + self.attention(self.norm(x, f"{block}.0.layer_norm"), f"{block}.0.SelfAttention", bias, kept[i][0])
            if source is not None:
                x = x + self.attention(self.norm(x, f"{block}.1.layer_norm"), f"{block}.1.EncDecAttention", source_bias, kept[i][1], source)
            n, mlp = self.norm(x, f"{block}.{last}.layer_norm"), f"{block}.{last}.mlp"
            x = x + (self.mixture(n, mlp, side, i) if f"{mlp}.{ROUTER}" in self.w else self.feed_forward(n, mlp))
        return self.norm(x, f"{side}.final_layer_norm")

    def nothing_kept(self, side):
        return [(KeysAndValues(), KeysAndValues()) for _ in range(self.layers[side])]

    def masked(self, mask):
        """What is added to scores: 0 where the mask is 1."""
        return (1 - mask.to(self.dtype)) * torch.finfo(self.dtype).min

    def encode(self, input_ids, attention_mask):
        length = input_ids.shape[1]
        bias = self.position_bias("encoder", length, length) + self.masked(attention_mask[:, None, None])
        return self.stack("encoder", input_ids, bias, self.nothing_kept("encoder"))

    def decode(self, ids, earlier, kept, encoder_hidden, attention_mask):
        """Hidden states of tokens that come after so many earlier ones, which `kept` knows."""
        length = ids.shape[1]
        causal = torch.ones(earlier + length, earlier + length).tril()[earlier:]
        bias = self.position_bias("decoder", length, earlier + length) + self.masked(causal[None, None])
        return self.stack("decoder", ids, bias, kept, encoder_hidden, self.masked(attention_mask[:, None, None]))

    def logits(self, hidden):
        return F.linear(hidden * self.d_model**-0.5 if self.config["tie_word_embeddings"] else hidden, self.lm_head)

    @torch.inference_mode()
    def forward(self, input_ids, attention_mask, decoder_input_ids):
        """(logits [b, target, vocab], encoder_hidden [b, length, h])"""
        encoder_hidden = self.encode(input_ids, attention_mask)
        hidden = self.decode(decoder_input_ids, 0, self.nothing_kept("decoder"), encoder_hidden, attention_mask)
        return self.logits(hidden), encoder_hidden

    @torch.inference_mode()
    def generate(self, input_ids, attention_mask, new_tokens):
        """Greedy: [b, 1 + new_tokens], the start token first. Generates on behind an end token, so that all runs do the same work."""
        encoder_hidden = self.encode(input_ids, attention_mask)
        tokens = torch.full((len(input_ids), 1), self.config["decoder_start_token_id"])
        kept = self.nothing_kept("decoder")
        for step in range(new_tokens):
            hidden = self.decode(tokens[:, -1:], step, kept, encoder_hidden, attention_mask)
            tokens = torch.cat([tokens, self.logits(hidden)[:, -1].argmax(dim=-1, keepdim=True)], dim=1)
        return tokens

    @torch.inference_mode()
    def generate_from_prefixes(self, input_ids, attention_mask, new_tokens):
        """The same without keys and values kept: every step runs the whole prefix, where experts overflow."""
        encoder_hidden = self.encode(input_ids, attention_mask)
        tokens = torch.full((len(input_ids), 1), self.config["decoder_start_token_id"])
        for _ in range(new_tokens):
            hidden = self.decode(tokens, 0, self.nothing_kept("decoder"), encoder_hidden, attention_mask)
            tokens = torch.cat([tokens, self.logits(hidden)[:, -1].argmax(dim=-1, keepdim=True)], dim=1)
        return tokens


def golden_errors(folder, dtype="f32"):
    """Of a golden case: what the published implementation gave for these inputs. Differences relative to the largest value; the share of
    greedy tokens that are equal; and that of tokens which decoding with kept keys and values has in common with decoding from whole
    prefixes, where no expert overflows."""
    model = PublishedModel(folder, dtype)
    ids, mask, decoder_ids, tokens = (
        torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("input_ids", "attention_mask", "decoder_input_ids", "greedy")
    )
    logits, encoder_hidden = model.forward(ids, mask, decoder_ids)
    errors = {}
    for name, found in (("logits", logits), ("encoder_hidden", encoder_hidden)):
        wanted = np.load(folder / f"{name}.npy")
        errors[name] = float(np.abs(found.float().numpy() - wanted).max() / np.abs(wanted).max())
    steps = tokens.shape[1] - 1
    errors["greedy_equal"] = float((model.generate_from_prefixes(ids, mask, steps) == tokens).float().mean())
    model.config["expert_capacity"] = ids.numel()
    errors["kept_equal"] = float((model.generate(ids, mask, steps) == model.generate_from_prefixes(ids, mask, steps)).float().mean())
    return errors
