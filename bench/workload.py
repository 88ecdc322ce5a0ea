"""What every contender computes: one MoE sublayer, its weights, and inputs whose routing is exactly even.

A workload holds several layers (sets of expert weights) that share one router, so that runs in turn through the layers read weights from
memory and not from the last-level cache, as between the layers of a model. Run i uses layer i % layers and input i / layers % INPUTS:
the same sequence for everybody.

Tokens are drawn at random, routed here with the router's weights, and taken until every expert has tokens / experts of them. So a
contender that routes by itself does the same work as one that gets the tokens already grouped. With one token, input i goes to expert
i % experts. Tokens whose two best experts lie close together are left out: rounding to bf16 must not move them."""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

INPUTS = 16
MARGIN = 0.05  # least distance between the two best logits, which have a standard deviation of 1


@dataclass(frozen=True)
class Shape:
    d_model: int = 768
    d_ff: int = 3072
    experts: int = 8
    bottleneck: int = 64
    hyper_hidden: int = 128
    embedding: int = 128  # expert_embedding, selection_hidden and selection_embedding
    layer_embedding: int = 10
    layer_rows: int = 12
    layer: int = 1

    @property
    def expert_values(self):
        return 2 * self.d_model * self.d_ff

    def expert_bytes(self, dtype):
        return self.expert_values * element_bytes(dtype)

    def flops(self, tokens):
        """Of the experts alone: what all contenders have in common."""
        return 2 * self.expert_values * tokens


def element_bytes(dtype):
    return {"f32": 4, "bf16": 2}[dtype]


def uniform(generator, shape, deviation):
    """Uniform with a standard deviation: several times faster to draw than normal values."""
    values = generator.random(shape, dtype=np.float32)
    values -= 0.5
    values *= np.float32(deviation * 12**0.5)
    return values


def write_tensors(path, tensors):
    """As .safetensors. tensors: (key, f32 array) pairs, the same ones each time they are gone through."""
    header, offset = {}, 0
    for key, values in tensors:
        header[key] = {"dtype": "F32", "shape": values.shape, "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, values in tensors:
            file.write(np.ascontiguousarray(values).data)
    return path


def layer_weights(shape, seed, router):
    """The state dict of a HyperMoE layer, of which a MoE layer uses a part. Sizes keep all activations near 1."""
    generator = np.random.default_rng(seed)
    s, weights = shape, {"router.classifier.weight": router}
    for e in range(s.experts):
        weights[f"experts.expert_{e}.wi.weight"] = uniform(generator, (s.d_ff, s.d_model), s.d_model**-0.5)
        weights[f"experts.expert_{e}.wo.weight"] = uniform(generator, (s.d_model, s.d_ff), s.d_ff**-0.5)
    weights["n_experts_embedding.weight"] = uniform(generator, (s.experts, s.embedding), 1)
    for key, rows, columns in (
        ("embedding_process.0", s.embedding, s.embedding),
        ("embedding_process.2", s.embedding, s.embedding),
        ("param_gen.decoder.linear1", s.hyper_hidden, s.embedding + s.layer_embedding),
    ):
        weights[f"{key}.weight"] = uniform(generator, (rows, columns), columns**-0.5)
        weights[f"{key}.bias"] = uniform(generator, (rows,), 0.1)
    weights["param_gen.layer_embed.weight"] = uniform(generator, (s.layer_rows, s.layer_embedding), 1)
    for key, fan_in in (("down", s.d_model), ("up", s.bottleneck)):
        values = s.d_model * s.bottleneck
        weights[f"param_gen.decoder.weight_{key}.weight"] = uniform(generator, (values, s.hyper_hidden), (s.hyper_hidden * fan_in) ** -0.5)
        weights[f"param_gen.decoder.weight_{key}.bias"] = uniform(generator, (values,), 0.1 * fan_in**-0.5)
    return weights


class Workload:
    def __init__(self, shape, layers, folder, seed=1):
        generator = np.random.default_rng(seed)
        self.shape, self.folder = shape, folder
        self.router = uniform(generator, (shape.experts, shape.d_model), shape.d_model**-0.5)
        self.layers = [layer_weights(shape, seed + 1 + layer, self.router) for layer in range(layers)]

    @cached_property
    def files(self):
        """The layers as .safetensors."""
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = [self.folder / f"layer_{i}.safetensors" for i in range(len(self.layers))]
        for path, weights in zip(paths, self.layers):
            write_tensors(path, weights.items())
        return paths

    def inputs(self, tokens, count=INPUTS, seed=1):
        return [Input(self, tokens, i, draw) for i, draw in enumerate(even_draws(self.router, tokens, count, seed))]


def even_draws(router, tokens, count, seed):
    """`count` lists of tokens grouped by expert: [(expert, [rows, d_model]), ...]."""
    experts, d_model = router.shape
    if tokens != 1 and tokens % experts:
        raise ValueError(f"{tokens} tokens cannot be spread evenly over {experts} experts")
    generator = np.random.default_rng([seed, tokens])
    each = max(tokens // experts, 1)
    want = count * each
    pools, have = [[] for _ in range(experts)], np.zeros(experts, np.int64)
    while have.min() < want:
        x = uniform(generator, (max(1024, min(8192, want)), d_model), 1)
        logits = x @ router.T
        best = np.sort(logits, axis=1)[:, -2:]
        clear = best[:, 1] - best[:, 0] > MARGIN
        chosen = logits.argmax(axis=1)
        for e in range(experts):
            if have[e] < want:
                taken = x[clear & (chosen == e)]
                pools[e].append(taken)
                have[e] += len(taken)
    pools = [np.concatenate(pool)[:want] for pool in pools]
    if tokens == 1:
        return [[(i % experts, pools[i % experts][i : i + 1])] for i in range(count)]
    return [[(e, pools[e][i * each : (i + 1) * each]) for e in range(experts)] for i in range(count)]


class Input:
    """x: the tokens in a random order, as a router gets them. groups: (expert, its tokens), as the peers get them."""

    def __init__(self, workload, tokens, index, groups):
        self.workload, self.tokens, self.groups = workload, tokens, groups
        grouped = np.concatenate([rows for _, rows in groups])
        self.order = np.random.default_rng(index).permutation(tokens)  # row i of x is row order[i] of the grouped tokens
        self.x = np.ascontiguousarray(grouped[self.order])

    @property
    def experts_read(self):
        return len(self.groups)

    def gates(self):
        """Of the grouped tokens: the softmax value of the chosen expert."""
        logits = np.concatenate([rows for _, rows in self.groups]) @ self.workload.router.T
        return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)

    def expected(self, layer):
        """What the experts make of the grouped tokens, without gates."""
        weights, results = self.workload.layers[layer], []
        for e, rows in self.groups:
            hidden = np.maximum(rows @ weights[f"experts.expert_{e}.wi.weight"].T, 0)
            results.append(hidden @ weights[f"experts.expert_{e}.wo.weight"].T)
        return np.concatenate(results)

    def grouped(self, y):
        """Rows in x's order -> grouped rows."""
        result = np.empty_like(y)
        result[self.order] = y
        return result


def difference(a, b):
    """max |a - b| / max |b|"""
    return float(np.abs(a - b).max() / np.abs(b).max())
