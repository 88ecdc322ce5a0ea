#!/usr/bin/env python3
"""Writes a Hugging Face directory (config.json, model.safetensors) of a Switch Transformer or a GPT-2 with mixtures of experts, with
or without HyperMoE, of any size and with random weights.

  write_checkpoint.py switch DIR                         switch-base-8 with HyperMoE: 645 million parameters, 2.6 GB
  write_checkpoint.py switch DIR --no-hypermoe           the same without
  write_checkpoint.py gpt2 DIR --top-k 2 --dtype bf16 --shard-bytes 500M
  write_checkpoint.py switch DIR --layers 2 --d-model 48 --d-ff 96 --heads 3 --d-kv 16 --vocab 211

Weights are drawn by key: a tensor depends on the seed, on its name and on its shape, but not on what else is in the file. So the
checkpoints with and without HyperMoE have the same experts, and a sharded one holds what a whole one does.

They are scaled so that all parts matter and activations stay near 1: attention scores and a router's logits have a deviation above 1, and
every sublayer adds a visible part, but none so much that rounding to bf16 would change everything behind it. What it adds differs from
token to token (so the rows of some matrices are centered): where all tokens looked alike, they would go to the same experts. The
library's own initial values would not do: hypernetworks start so small that HyperExperts vanish behind rounding errors.

Needs numpy; memory stays below 100 MB, whatever the size."""

import argparse
import json
import math
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CHUNK_VALUES = 1 << 21
ELEMENT_BYTES = {"f32": 4, "bf16": 2, "f16": 2}
LIBRARY_NAMES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


@dataclass(frozen=True)
class Tensor:
    key: str
    shape: tuple
    deviation: float = 0.0
    mean: float = 0.0
    centered: bool = False  # every row sums to 0

    @property
    def values(self):
        return math.prod(self.shape)


def linear(key, rows, columns, gain=1.0, bias=None, centered=False):
    """torch's: weight [rows, columns] that makes values of deviation `gain` from inputs of deviation 1; a bias if it has a deviation."""
    yield Tensor(f"{key}.weight", (rows, columns), gain * columns**-0.5, centered=centered)
    if bias is not None:
        yield Tensor(f"{key}.bias", (rows,), bias)


def conv1d(key, rows, columns, gain=1.0):
    """GPT-2's: weight [in, out], and a bias."""
    yield Tensor(f"{key}.weight", (rows, columns), gain * rows**-0.5)
    yield Tensor(f"{key}.bias", (columns,), 0.1)


def norm(key, d_model, bias=False):
    yield Tensor(f"{key}.weight", (d_model,), 0.2, mean=1.0)
    if bias:
        yield Tensor(f"{key}.bias", (d_model,), 0.2)


# ---- HyperMoE: the same keys in both models ----


def selection(prefix, o):
    """Of one layer. Sums of `experts - top_k` embeddings go in."""
    yield Tensor(f"{prefix}.n_experts_embedding.weight", (o.experts, o.expert_embedding), 1.0)
    yield from linear(f"{prefix}.embedding_process.0", o.selection_hidden, o.expert_embedding, 1.5 * (o.experts - o.top_k) ** -0.5, bias=0.3)
    yield from linear(f"{prefix}.embedding_process.2", o.selection_embedding, o.selection_hidden, 1.2, bias=0.3)
    if o.unused_adapter:
        yield from linear(f"{prefix}.adapter_layer.adapter_down_manual", o.bottleneck, o.d_model, bias=0.1)
        yield from linear(f"{prefix}.adapter_layer.adapter_up_manual", o.d_model, o.bottleneck, bias=0.1)


def generator(prefix, layers, o):
    """Of one stack. The matrices it generates are scaled by what they multiply: d_model and bottleneck values."""
    yield Tensor(f"{prefix}.layer_embed.weight", (layers, o.layer_embedding), 1.0)
    yield from linear(f"{prefix}.decoder.linear1", o.hyper_hidden, o.selection_embedding + o.layer_embedding, bias=0.3)
    values, down, up = o.d_model * o.bottleneck, o.d_model**-0.5, o.bottleneck**-0.5
    yield from linear(f"{prefix}.decoder.weight_up", values, o.hyper_hidden, 0.5 * up, bias=0.15 * up)
    yield from linear(f"{prefix}.decoder.weight_down", values, o.hyper_hidden, 1.2 * down, bias=0.3 * down)
    yield from linear(f"{prefix}.decoder.bias_up", o.d_model, o.hyper_hidden, 0.1, bias=0.1)
    yield from linear(f"{prefix}.decoder.bias_down", o.bottleneck, o.hyper_hidden, 0.3, bias=0.2)


# ---- Switch ----


def attention(prefix, gain, o):
    inner = o.heads * o.d_kv
    yield Tensor(f"{prefix}.q.weight", (inner, o.d_model), 1.2 * (o.d_model * o.d_kv) ** -0.5)  # scores are not divided by sqrt(d_kv)
    yield from linear(f"{prefix}.k", inner, o.d_model)
    yield from linear(f"{prefix}.v", inner, o.d_model)
    yield from linear(f"{prefix}.o", o.d_model, inner, gain)


def is_sparse(layer, o):
    return layer % o.sparse_step == 1


def switch_stack(side, layers, o):
    for i in range(layers):
        block = f"{side}.block.{i}.layer"
        yield from attention(f"{block}.0.SelfAttention", 0.4, o)
        if i == 0:
            yield Tensor(f"{block}.0.SelfAttention.relative_attention_bias.weight", (o.buckets, o.heads), 0.5)
        yield from norm(f"{block}.0.layer_norm", o.d_model)
        if side == "decoder":
            yield from attention(f"{block}.1.EncDecAttention", 0.25, o)
            yield from norm(f"{block}.1.layer_norm", o.d_model)
        last = 1 if side == "encoder" else 2
        mlp = f"{block}.{last}.mlp"
        if is_sparse(i, o):
            yield from linear(f"{mlp}.router.classifier", o.experts, o.d_model, 1.5, bias=0.5 if o.router_bias else None)
            for e in range(o.experts):
                yield from linear(f"{mlp}.experts.expert_{e}.wi", o.d_ff, o.d_model)
                yield from linear(f"{mlp}.experts.expert_{e}.wo", o.d_model, o.d_ff, 1.8, centered=True)  # gates are about a half
            if o.hypermoe:
                yield from selection(mlp, o)
        else:
            yield from linear(f"{mlp}.wi", o.d_ff, o.d_model)
            yield from linear(f"{mlp}.wo", o.d_model, o.d_ff, centered=True)
        yield from norm(f"{block}.{last}.layer_norm", o.d_model)
    yield from norm(f"{side}.final_layer_norm", o.d_model)
    if o.hypermoe:
        yield from generator(f"{side}.param_gen", layers, o)


def switch_tensors(o):
    yield Tensor("shared.weight", (o.vocab, o.d_model), 0.2)
    yield from switch_stack("encoder", o.layers, o)
    yield from switch_stack("decoder", o.decoder_layers, o)
    if o.untied:
        yield Tensor("lm_head.weight", (o.vocab, o.d_model), o.d_model**-0.5)


def switch_config(o):
    sparse = [sum(is_sparse(i, o) for i in range(layers)) for layers in (o.layers, o.decoder_layers)]
    return {
        "architectures": ["SwitchTransformersForConditionalGeneration"],
        "d_kv": o.d_kv,
        "d_ff": o.d_ff,
        "d_model": o.d_model,
        "encoder_sparse_step": o.sparse_step,
        "decoder_sparse_step": o.sparse_step,
        "expert_capacity": o.capacity,
        "num_decoder_layers": o.decoder_layers,
        "num_experts": o.experts,
        "num_heads": o.heads,
        "num_layers": o.layers,
        "num_sparse_encoder_layers": sparse[0],
        "num_sparse_decoder_layers": sparse[1],
        "relative_attention_num_buckets": o.buckets,
        "relative_attention_max_distance": o.max_distance,
        "router_bias": o.router_bias,
    }


# ---- GPT-2 ----


def gpt2_tensors(o):
    yield Tensor("transformer.wte.weight", (o.vocab, o.d_model), 2.5 * o.d_model**-0.5)  # logits of a deviation of 2.5
    yield Tensor("transformer.wpe.weight", (o.positions, o.d_model), 1.5 * o.d_model**-0.5)
    for i in range(o.layers):
        block = f"transformer.h.{i}"
        yield from norm(f"{block}.ln_1", o.d_model, bias=True)
        yield from conv1d(f"{block}.attn.c_attn", o.d_model, 3 * o.d_model, 1.2)
        yield from conv1d(f"{block}.attn.c_proj", o.d_model, o.d_model)
        yield from norm(f"{block}.ln_2", o.d_model, bias=True)
        mlp = f"{block}.mlp"
        yield Tensor(f"{mlp}.w_gate", (o.d_model, o.experts), 1.5 * o.d_model**-0.5)
        yield Tensor(f"{mlp}.w_noise", (o.d_model, o.experts), o.d_model**-0.5)  # of training alone, as are the next two
        yield Tensor(f"{mlp}.mean", (1,))
        yield Tensor(f"{mlp}.std", (1,), mean=1.0)
        for e in range(o.experts):
            yield from conv1d(f"{mlp}.experts.expert_{e}.c_fc", o.d_model, 4 * o.d_model, 1.5)
            yield from conv1d(f"{mlp}.experts.expert_{e}.c_proj", 4 * o.d_model, o.d_model)
        if o.hypermoe:
            yield from selection(mlp, o)
    yield from norm("transformer.ln_f", o.d_model, bias=True)
    if o.hypermoe:
        yield from generator("transformer.param_gen", o.layers, o)
    if o.untied:
        yield Tensor("lm_head.weight", (o.vocab, o.d_model), 2.5 * o.d_model**-0.5)


def gpt2_config(o):
    return {
        "architectures": ["GPT2LMHeadModel"],
        "k": o.top_k,
        "n_embd": o.d_model,
        "n_experts": o.experts,
        "n_head": o.heads,
        "n_layer": o.layers,
        "n_positions": o.positions,
    }


# ---- the file ----


class Progress:
    """On a terminal a line that changes; else a line now and then."""

    def __init__(self, total_bytes, quiet):
        self.total, self.done, self.quiet = total_bytes, 0, quiet
        self.start = self.last = time.monotonic()
        self.live = sys.stderr.isatty()

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if not self.quiet and (now - self.last > (0.2 if self.live else 5) or self.done == self.total):
            self.last = now
            text = f"{1e-6 * self.done:.0f} of {1e-6 * self.total:.0f} MB, {now - self.start:.0f} s"
            end = "\n" if self.done == self.total or not self.live else ""
            print(("\r" if self.live else "") + text, end=end, file=sys.stderr, flush=True)


def to_bytes(values, dtype):
    if dtype == "bf16":  # to the nearest, ties to even; there are no NaNs
        bits = values.view(np.uint32)
        values = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    elif dtype == "f16":
        values = values.astype("<f2")
    return values.tobytes()


def draw(tensor, seed):
    """The tensor's values, a chunk at a time."""
    random = np.random.Generator(np.random.SFC64([seed, zlib.crc32(tensor.key.encode())]))
    columns = tensor.shape[-1]
    chunk = max(CHUNK_VALUES // columns, 1) * columns
    for start in range(0, tensor.values, chunk):
        values = random.standard_normal(min(chunk, tensor.values - start), np.float32)
        if tensor.centered:
            rows = values.reshape(-1, columns)
            rows -= rows.mean(axis=1, keepdims=True)
        values *= np.float32(tensor.deviation)
        values += np.float32(tensor.mean)
        yield values


def write_file(path, tensors, o, progress):
    """One .safetensors file."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for t in tensors:
        size = t.values * ELEMENT_BYTES[o.dtype]
        header[t.key] = {"dtype": o.dtype.upper(), "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for t in tensors:
            for values in draw(t, o.seed):
                progress.add(file.write(to_bytes(values, o.dtype)))


def shards(tensors, o):
    """Lists of tensors that take at most shard_bytes each, a tensor that is larger alone."""
    parts, size = [[]], 0
    for t in tensors:
        count = t.values * ELEMENT_BYTES[o.dtype]
        if o.shard_bytes and parts[-1] and size + count > o.shard_bytes:
            parts.append([])
            size = 0
        parts[-1].append(t)
        size += count
    return parts


def write_tensors(folder, tensors, o):
    total = sum(t.values for t in tensors) * ELEMENT_BYTES[o.dtype]
    progress, parts = Progress(total, o.quiet), shards(tensors, o)
    for old in [*folder.glob("model*.safetensors"), *folder.glob("model.safetensors.index.json")]:
        old.unlink()
    if len(parts) == 1:
        write_file(folder / "model.safetensors", tensors, o, progress)
        return total
    names = [f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors" for i in range(len(parts))]
    for name, part in zip(names, parts):
        write_file(folder / name, part, o, progress)
    index = {"metadata": {"total_size": total}, "weight_map": {t.key: name for name, part in zip(names, parts) for t in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return total


def config(o, model):
    """What the library writes: the keys of a golden config.json, with this model's values."""
    text = (GOLDEN / model.golden / "config.json").read_text(encoding="utf-8")
    common = {
        "adapter_dim": o.bottleneck,
        "experts_embedding": o.hypermoe,
        "experts_embedding_dim": o.expert_embedding,
        "hypernet_input": o.selection_embedding,
        "hypernetwork_bottleneck": o.hyper_hidden,
        "layer_emb_dim": o.layer_embedding,
        "process_dim": o.selection_hidden,
        "use_hypernet": o.hypermoe,
        "tie_word_embeddings": not o.untied,
        "torch_dtype": LIBRARY_NAMES[o.dtype],
        "vocab_size": o.vocab,
    }
    return json.dumps({**json.loads(text), **common, **model.config(o)}, indent=2, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Model:
    golden: str
    tensors: object
    config: object
    dims: dict  # default values; None: see read_options


HYPER_DIMS = {"bottleneck": 64, "hyper_hidden": 128, "expert_embedding": 128, "selection_hidden": 128, "selection_embedding": 128,
              "layer_embedding": 10}  # fmt: skip
MODELS = {
    "switch": Model(
        "switch-hypermoe-tiny", switch_tensors, switch_config,
        {"d_model": 768, "d_ff": 3072, "layers": 12, "decoder_layers": None, "heads": 12, "d_kv": 64, "experts": 8, "sparse_step": 2,
         "capacity": 64, "vocab": 32128, "buckets": 32, "max_distance": 128, **HYPER_DIMS},
    ),
    "gpt2": Model(
        "gpt2-hypermoe-tiny-k1", gpt2_tensors, gpt2_config,
        {"d_model": 768, "layers": 12, "heads": 12, "experts": 8, "top_k": 1, "vocab": 50257, "positions": 1024, **HYPER_DIMS},
    ),
}  # fmt: skip


def byte_count(text):
    unit = {"k": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
    return int(float(text.rstrip("kMG")) * unit)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = parser.add_subparsers(dest="model", required=True, metavar="switch|gpt2")
    for name, model in MODELS.items():
        p = models.add_parser(name)
        p.add_argument("folder", type=Path, metavar="DIR", help="written to; made if it does not exist")
        for dim, value in model.dims.items():
            text = f"default {'as --layers' if value is None else value}"
            p.add_argument(f"--{dim.replace('_', '-')}", type=int, default=value, metavar="N", help=text)
        p.add_argument("--no-hypermoe", dest="hypermoe", action="store_false", help="no hypernetwork")
        p.add_argument("--untied", action="store_true", help="lm_head has weights of its own")
        p.add_argument("--unused-adapter", action="store_true", help="adapter_*_manual too, which published checkpoints have and nothing uses")
        p.add_argument("--dtype", choices=ELEMENT_BYTES, default="f32", help="default f32")
        text = "several files of at most so many bytes each, and their index"
        p.add_argument("--shard-bytes", type=byte_count, default=0, metavar="N[kMG]", help=text)
        p.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
        p.add_argument("--quiet", action="store_true", help="no progress")
        if name == "switch":
            p.add_argument("--router-bias", action="store_true", help="routers have a bias")
    o = parser.parse_args()
    if o.model == "switch":
        o.decoder_layers, o.top_k = o.layers if o.decoder_layers is None else o.decoder_layers, 1
    for dim, value in vars(o).items():
        if dim in MODELS[o.model].dims and value < 1:
            parser.error(f"--{dim.replace('_', '-')}: expected at least 1, found {value}")
    if o.model == "gpt2" and o.d_model % o.heads:
        parser.error(f"--d-model: expected a multiple of {o.heads} heads, found {o.d_model}")
    if o.hypermoe and o.top_k >= o.experts:
        parser.error(f"--experts: expected more than {o.top_k}, found {o.experts}: HyperMoE needs an expert that is not selected")
    return o


def main():
    o = read_options()
    model = MODELS[o.model]
    tensors = list(model.tensors(o))
    o.folder.mkdir(parents=True, exist_ok=True)
    total = write_tensors(o.folder, tensors, o)
    (o.folder / "config.json").write_text(config(o, model), encoding="utf-8")
    if not o.quiet:
        values = sum(t.values for t in tensors)
        print(f"{o.folder}: {len(tensors)} tensors, {1e-6 * values:.1f} million parameters, {1e-6 * total:.0f} MB", file=sys.stderr)


main()
