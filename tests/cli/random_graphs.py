"""Random legal graphs: compiled code against the interpreter, and decoding token by token against a forward pass.

  random_graphs.py HMOEC FOLDER [--count N] [--seed S] [--kind KIND] [--dtype T]

Graph i of a run has seed S + i and its kind in turn: rows (f32[tokens, columns]), batch (f32[batch, length, columns]), decoder (ids,
causal attention, logits). A graph that fails stays in FOLDER as seed-N.spec, and the line to run it again is printed."""
import argparse
import os
import random
import re
import subprocess
import sys

import numpy

WIDTHS = [1, 5, 16, 31, 33, 48, 100]
FUNCTIONS = ["relu", "gelu", "gelu_new", "silu", "sigmoid"]
# One value relative to the largest, and with bf16 the 2-norm: random graphs cancel and normalise more than models do.
F32_WORST, BF16_WORST, BF16_DISTANCE = 1e-3, 0.5, 0.15


class Value:
    """A named tensor of the graph: rows "flat" or "batch" of an origin, and columns."""

    def __init__(self, name, rows, origin, width, is_ids=False):
        self.name, self.rows, self.origin, self.width, self.is_ids, self.uses = name, rows, origin, width, is_ids, 0


class Graph:
    def __init__(self, seed, kind):
        self.random = random.Random(seed)
        self.kind, self.lines, self.values, self.counter, self.tables = kind, [], [], 0, {}
        self.widths = self.random.sample(WIDTHS, 3)
        self.width = self.random.choice([w for w in self.widths if w > 1])
        self.like = {}  # origin: a value of batch rows, and its mask
        self.masks = {}
        if kind == "decoder": self.decoder()
        else: self.plain()

    # ---- text ----

    def name(self):
        self.counter += 1
        return f"v{self.counter}"

    def param(self, shape, count=0):
        self.counter += 1
        p = f"p{self.counter}"
        stack = f"[e < {count}]" if count else ""
        dims = ", ".join(str(d) for d in shape)
        self.lines.append(f'param {p}{stack}: [{dims}] from "{p}{".{e}" if count else ""}"')
        return p

    def emit(self, expression, rows, origin, width):
        v = Value(self.name(), rows, origin, width)
        self.lines.append(f"{v.name} = {expression}")
        self.values.append(v)
        return v

    def use(self, *values):
        for v in values: v.uses += 1
        return tuple(v.name for v in values)

    # ---- choosing ----

    def chance(self, p):
        return self.random.random() < p

    def pick(self, keep=lambda v: True):
        """A value, of the last ones rather."""
        fitting = [v for v in self.values if keep(v)]
        if not fitting: return None
        return fitting[-1 - min(int(self.random.expovariate(0.5)), len(fitting) - 1)]

    def same(self, v):
        return lambda o: (o.rows, o.origin, o.width) == (v.rows, v.origin, v.width)

    # ---- ops ----

    def linear(self, x, width, bias=None):
        w = self.param([width, x.width]) if self.chance(0.8) else f"transpose({self.param([x.width, width])})"
        bias = self.chance(0.4) if bias is None else bias
        b = f", {self.param([width])}" if bias else ""
        return self.emit(f"linear({self.use(x)[0]}, {w}{b})", x.rows, x.origin, width)

    def activate(self, x):
        return self.emit(f"activate({self.use(x)[0]}, function = {self.random.choice(FUNCTIONS + ['none'])})", x.rows, x.origin, x.width)

    def add(self, a, b):
        if self.chance(0.5): a, b = b, a
        return self.emit("add({}, {})".format(*self.use(a, b)), a.rows, a.origin, a.width)

    def norm(self, x):
        w = self.param([x.width])
        if self.chance(0.5): y = f"rms_norm({self.use(x)[0]}, {w})"
        else: y = f"layer_norm({self.use(x)[0]}, {w}, {self.param([x.width])})"
        if self.chance(0.15): y = f"scale({y}, inverse_sqrt = {self.random.choice([2, 7, 64])})"
        return self.emit(y, x.rows, x.origin, x.width)

    def slice(self, x):
        begin = self.random.randrange(x.width)
        end = self.random.randrange(begin + 1, x.width + 1)
        if self.chance(0.5) and x.width > self.width:
            begin = self.random.randrange(x.width - self.width + 1)
            end = begin + self.width
        return self.emit(f"slice({self.use(x)[0]}, begin = {begin}, end = {end})", x.rows, x.origin, end - begin)

    def multiply(self, x, z, width):
        def factor(v):
            y = f"linear({self.use(v)[0]}, {self.param([width, v.width])}"
            y += f", {self.param([width])})" if self.chance(0.3) else ")"
            return f"activate({y}, function = {self.random.choice(FUNCTIONS)})" if self.chance(0.5) else y
        return self.emit(f"multiply({factor(x)}, {factor(z)})", x.rows, x.origin, width)

    def flatten(self, x):
        return self.emit(f"flatten({self.use(x)[0]})", "flat", x.origin, x.width)

    def unflatten(self, x):
        return self.emit("unflatten({}, {})".format(*self.use(x, self.like[x.origin])), "batch", x.origin, x.width)

    def hyper(self, tokens, r, experts, top_k):
        h, b, hidden, e = tokens.width, self.random.choice([1, 3, 33]), self.random.choice([4, 17]), self.random.choice([3, 8])
        if self.chance(0.75) and top_k < experts:
            of = self.random.choice(["selected", "unselected"])
            s = f"selection_embedding({r}, {self.param([experts, e])}, of = {of}, aggregate = {self.random.choice(['sum', 'mean'])})"
            s = f"activate(linear({s}, {self.param([hidden, e])}, {self.param([hidden])}), function = relu)"
        elif self.chance(0.5):
            s = f"activate(linear({self.use(tokens)[0]}, {self.param([hidden, h])}, {self.param([hidden])}), function = relu)"
        else:
            s, hidden = self.use(tokens)[0], h
            if h > 33: return None
        weights = [self.param([h * b, hidden]), self.param([h * b]), self.param([b * h, hidden]), self.param([b * h])]
        if self.chance(0.5): weights += [self.param([b, hidden]), self.param([b]), self.param([h, hidden]), self.param([h])]
        return self.emit(f"hyper_expert({self.use(tokens)[0]}, hypernetwork({s}, {', '.join(weights)}, bottleneck = {b}))", "flat",
                         tokens.origin, h)

    def experts(self, x, keep_rows=False):
        """Routing, experts and perhaps a HyperExpert; the sum has the rows of x."""
        experts, h, f = self.random.choice([2, 3, 5, 8]), x.width, self.random.choice([5, 31, 48, 100])
        top_k = self.random.choice([1, 1, 2, 3]) if experts >= 3 else 1
        gate = self.random.choice(["softmax_then_topk", "topk_then_softmax", "softmax_topk_renorm", "sigmoid", "sigmoid, renorm = 1"])
        capacity = self.random.choice([0, 0, 2, 7])
        logits = self.linear(x, experts)
        self.values.remove(logits)
        r = self.name()
        self.lines.append(f"{r} = route({logits.name}, top_k = {top_k}, gate = {gate}, capacity = {capacity})")
        tokens = self.flatten(x) if x.rows == "batch" else x
        gated = self.chance(0.3)
        stacks = [self.param([f, h], experts) for _ in range(1 + gated)] + [self.param([h, f], experts)]
        if self.chance(0.4): stacks += [self.param([f], experts) for _ in range(1 + gated)] + [self.param([h], experts)]
        op = "gated_experts" if gated else "experts"
        e = self.name()
        self.lines.append(f"{e} = {op}({self.use(tokens)[0]}, {r}, {', '.join(stacks)}, activation = {self.random.choice(FUNCTIONS)})")
        between = None
        if self.chance(0.3): between = self.step()
        y = self.emit(f"combine({e}, {r})", "flat", x.origin, h)
        if self.chance(0.4):
            z = self.hyper(tokens, r, experts, top_k)
            if z: y = self.add(y, z)
        if between and self.chance(0.5) and self.same(y)(between): y = self.add(y, between)
        return self.unflatten(y) if x.rows == "batch" else y

    def attention(self, x, source=None, causal=None):
        source = source or x
        heads = self.random.choice([1, 2, 3])
        size = self.random.choice([1, 4, 16, 33])
        causal = int(causal if causal is not None else source is x and self.chance(0.5))
        if source.origin != x.origin: causal = 0
        operands = []
        if source is x and self.chance(0.3):
            qkv = self.linear(x, 3 * heads * size)
            operands = [f"slice({self.use(qkv)[0]}, begin = {i * heads * size}, end = {(i + 1) * heads * size})" for i in range(3)]
        else:
            bias = self.chance(0.3)
            for v in [x, source, source]:
                y = self.linear(v, heads * size, bias if self.chance(0.9) else not bias)
                if self.chance(0.9): self.values.remove(y)
                operands.append(self.use(y)[0])
        options = ""
        if self.chance(0.4):
            distance, both = self.random.choice([9, 20, 40]), self.random.choice([0, 1])
            options += f", bias = relative_bias({self.param([self.random.choice([4, 8]), heads])}, bidirectional = {both}, max_distance = {distance})"
        mask = self.masks.get(source.origin)
        if mask and self.chance(0.7): options += f", mask = {mask}"
        options += f", heads = {heads}, causal = {causal}, scaled = {self.random.choice([0, 1])}"
        return self.emit(f"attention({', '.join(operands)}{options})", "batch", x.origin, heads * size)

    # ---- graphs ----

    def body(self, x):
        """What may stand in a residual branch: rows and width of x."""
        n = self.norm(x) if x.width > 1 and self.chance(0.6) else x
        choice = self.random.randrange(6)
        if choice == 0: return self.linear(n, x.width)
        if choice == 1: return self.linear(self.activate(self.linear(n, self.random.choice([33, 100, 130]))), x.width)
        if choice == 2: return self.linear(self.multiply(n, n, self.random.choice([31, 100])), x.width)
        if choice == 3 and n.width <= 100: return self.experts(n)
        if choice == 4 and x.rows == "batch": return self.linear(self.attention(n, causal=self.causal()), x.width)
        return self.activate(self.linear(n, x.width))

    def causal(self):
        return True if self.kind == "decoder" else None

    def step(self):
        """One more value, or several. None: what was drawn fits nothing."""
        x = self.pick()
        choice = self.random.randrange(15)
        if choice <= 1: return self.linear(x, self.random.choice(self.widths))
        if choice == 2: return self.activate(self.pick() if self.chance(0.5) else self.linear(x, self.width))
        if choice <= 4:
            b = self.pick(self.same(x))
            return self.add(x, b)
        if choice == 5: return self.norm(x) if x.width > 1 else None
        if choice == 6: return self.slice(x) if x.width > 1 else None
        if choice == 7:
            z = self.pick(lambda v: (v.rows, v.origin) == (x.rows, x.origin))
            return self.multiply(x, z, self.random.choice(self.widths))
        if choice == 8: return self.experts(x) if 1 < x.width <= 100 else None
        if choice == 9 and x.rows == "batch": return self.flatten(x)
        if choice == 9 and x.origin in self.like: return self.unflatten(x)
        if choice == 10 and x.rows == "batch":
            s = self.pick(lambda v: v.rows == "batch") if self.kind != "decoder" else x
            return self.attention(x, s, self.causal())
        if choice == 11: # a chain, and its first value again
            y = self.linear(self.linear(x, self.random.choice(self.widths)), x.width)
            return self.linear(y, x.width) if self.chance(0.5) else y
        for _ in range(self.random.randrange(1, 4)): # residuals
            y = self.body(x)
            x = self.add(x, self.add(y, self.body(x)) if self.chance(0.25) else y)
        return x

    def outputs(self, most):
        chosen = [v for v in self.values if not v.uses]
        self.random.shuffle(chosen)
        chosen = chosen[:most]
        while len(chosen) < most and self.chance(0.4):
            v = self.random.choice(self.values)
            chosen.append(v)
        for i, v in enumerate(chosen): self.lines.append(f"output y{i} = {v.name}")

    def plain(self):
        origins = ["a"] if self.chance(0.8) else ["a", "b"]
        batch = self.kind == "batch"

        self.lines.append("dim " + "batch = ?, " * batch + ", ".join(f"length_{o} = ?" for o in origins))
        for o in origins:
            if batch and self.chance(0.5):
                self.lines.append(f"input mask_{o}: i64[batch, length_{o}] = 1")
                self.masks[o] = f"mask_{o}"
            for i in range(self.random.choice([1, 1, 2])):
                w = self.width if i == 0 else self.random.choice(self.widths)
                shape = f"[batch, length_{o}, {w}]" if batch else f"[length_{o}, {w}]"
                v = Value(f"x{i}_{o}", "batch" if batch else "flat", o, w)
                self.lines.append(f"input {v.name}: f32{shape}")
                self.values.append(v)
                self.like.setdefault(o, v)
        if not batch: self.like = {}
        for _ in range(self.random.randrange(3, 12)): self.step()
        for i, v in enumerate([v for v in self.values if v.uses == 0 and v.name.startswith("x")]): self.activate(v)
        self.outputs(6)

    def decoder(self):
        vocab, h = self.random.choice([33, 50, 64]), self.random.choice([16, 33, 48])
        self.width, self.widths = h, [h, h, 31]
        cross = self.chance(0.4)
        names = "batch = ?, length = ?" + (", target = ?" if cross else "")
        self.lines += [f"dim {names}", "generation { start_token = 1\nend_token = none\npad_token = 0 }"]
        self.lines.append("input input_ids: i64[batch, length]")
        table = self.param([vocab, h])
        source = None
        masked = self.chance(0.6)
        if masked: self.lines.append("input attention_mask: i64[batch, length] = 1")
        if cross:
            if masked: self.masks["source"] = "attention_mask"
            source = self.emit(f"embedding(input_ids, {table})", "batch", "source", h)
            self.like["source"] = source
            self.kind = "batch"
            for _ in range(self.random.randrange(0, 4)): self.step()
            source = self.pick(lambda v: v.rows == "batch" and v.width > 1)
            encoder = list(self.values)
            self.kind = "decoder"
            self.lines.append("input decoder_input_ids: i64[batch, target]")
            self.values = []
        elif masked: self.masks["target"] = "attention_mask"
        ids = "decoder_input_ids" if cross else "input_ids"
        x = self.emit(f"embedding({ids}, {table})", "batch", "target", h)
        self.like["target"] = x
        if masked and not cross and self.chance(0.5):
            x = self.add(x, self.emit(f"position_embedding(attention_mask, {self.param([200, h])})", "batch", "target", h))
        x = self.add(x, self.linear(self.attention(x, causal=True), h))
        for _ in range(self.random.randrange(1, 5)):
            if cross and self.chance(0.6):
                y = self.linear(self.attention(self.norm(x), source), h)
                x = self.add(x, y)
            if self.chance(0.5): self.step()
            y = self.body(x)
            x = self.add(x, y)
            other = self.pick(self.same(x))
            if self.chance(0.3): x = self.add(x, other)
        if self.chance(0.8): x = self.norm(x)
        if self.chance(0.3): x = self.linear(x, h)
        tied = self.chance(0.6)
        self.lines.append(f"output logits = linear({self.use(x)[0]}, {table if tied else self.param([vocab, h])})")
        if self.chance(0.4): # other readers of what only the logits need in decode
            v = self.random.choice(self.values) if self.chance(0.5) else x
            self.lines.append(f"output hidden = {v.name if self.chance(0.5) else self.linear(v, 31).name}")
        if cross and self.chance(0.4):
            v = self.random.choice(encoder)
            self.lines.append(f"output encoded = {v.name}")
        self.vocab, self.cross = vocab, cross
        self.masked = any(re.search(r"[( ]attention_mask\b", line) for line in self.lines if not line.startswith("input"))

    def text(self, seed):
        return f"model seed_{seed}\n" + "\n".join(self.lines) + "\n"


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def check_defect(options, path, graph, seed, dtype):
    """What is wrong with compiled code, or None; and whether the graph was left out."""
    tokens = random.Random(seed).choice([1, 2, 7, 40, 70, 200])
    if graph.kind == "decoder": tokens = min(tokens, 40 if options.quick else 70)
    elif options.quick: tokens = min(tokens, 40)
    command = [options.hmoec, "check", path, "--tokens", str(tokens), "--seed", str(seed), "--dtype", dtype]
    if graph.kind == "decoder": command += ["--save-weights", path + ".safetensors"]
    if options.quick: command += ["--strategy", "auto"]
    if options.cpu: command += ["--cpu", options.cpu]
    command += ["--threads", str(random.Random(seed + 1).choice([1, 2, 8]))]
    result = run(command)
    text = f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    if result.returncode == 0: return None
    if "nothing is left to compare" in result.stderr: return None
    if "differs from the interpreter" not in result.stderr or result.returncode != 1: return text
    for line in result.stdout.splitlines():
        found = re.search(r"(\S+)\s+(\S+)\s+WRONG$", line)
        if found and dtype == "f32" and not float(found[2]) < F32_WORST: return text
        if found and dtype == "bf16" and not (float(found[1]) < BF16_WORST and float(found[2]) < BF16_DISTANCE): return text
    return None


def decode_defect(options, path, graph, seed, dtype):
    """Greedy tokens of every prefix, by decode and by forward."""
    rng = numpy.random.default_rng(seed)
    batch, length, steps = int(rng.integers(1, 4)), int(rng.integers(1, 40)), 9
    ids = rng.integers(0, graph.vocab, (batch, length))
    mask = numpy.ones_like(ids)
    if graph.masked:
        for b in range(1, batch):
            if graph.cross: mask[b, int(rng.integers(1, length + 1)):] = 0
            else: mask[b, :int(rng.integers(0, length))] = 0
    base = path[:-5]
    numpy.save(base + ".ids.npy", ids)
    numpy.save(base + ".mask.npy", mask)
    shared = ["--weights", path + ".safetensors", "--dtype", dtype]
    if options.cpu: shared += ["--cpu", options.cpu]
    command = [options.hmoec, "generate", path, *shared, "--input", f"input_ids={base}.ids.npy", "--max-new-tokens", str(steps), "-o", base + ".tokens.npy"]
    if graph.masked: command += ["--input", f"attention_mask={base}.mask.npy"]
    result = run(command)
    text = f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    if result.returncode:
        refused = ["no entry", "expected inputs input_ids and attention_mask", "and the model takes none"] # what generation does not do
        return None if any(r in result.stderr for r in refused) else text
    if "cannot decode" in text: return None
    tokens = numpy.load(base + ".tokens.npy")
    whole = tokens if graph.cross else tokens
    start = 1 if graph.cross else length
    if not graph.cross and tokens.shape[1] == steps: whole = numpy.concatenate([ids, tokens], 1)
    if graph.cross and tokens.shape[1] == steps: whole = numpy.concatenate([numpy.ones((batch, 1), int), tokens], 1)
    inputs = ["--input", f"input_ids={base}.ids.npy"]
    if graph.masked: inputs += ["--input", f"attention_mask={base}.mask.npy"]
    numpy.save(base + ".whole.npy", whole)
    if graph.cross: inputs += ["--input", f"decoder_input_ids={base}.whole.npy"]
    else:
        inputs[1] = f"input_ids={base}.whole.npy"
        if graph.masked:
            numpy.save(base + ".mask.npy", numpy.concatenate([mask, numpy.ones((batch, whole.shape[1] - length), int)], 1))
    outputs = []
    with open(path, encoding="ascii") as file:
        for name in re.findall(r"^output (\w+)", file.read(), re.M): outputs += ["--output", f"{name}={base}.{name}.npy"]
    command = [options.hmoec, "run", path, *shared, "--entry", "forward", *inputs, *outputs]
    result = run(command)
    text += f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    if result.returncode: return text
    logits = numpy.load(base + ".logits.npy")
    near = 1e-4 if dtype == "f32" else 0.1
    for b in range(batch):
        for t in range(start, whole.shape[1]):
            row = logits[b, t - 1]
            if row.max() - row[whole[b, t]] > near * (1 + numpy.abs(row).max()):
                return text + f"row {b}, token {t}: decode takes {whole[b, t]} ({row[whole[b, t]]}), forward {row.argmax()} ({row.max()})\n"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hmoec")
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=["rows", "batch", "decoder"])
    parser.add_argument("--dtype", choices=["f32", "bf16"])
    parser.add_argument("--cpu", help="a code version (default: all of this machine's)")
    parser.add_argument("--quick", action="store_true", help="one strategy of HyperExperts, the best code version, at most 40 tokens")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    failed = 0
    for i in range(options.count):
        seed = options.seed + i
        kind = options.kind or ["rows", "batch", "decoder"][seed % 3]
        dtype = options.dtype or ("bf16" if seed % 4 == 0 else "f32")
        graph = Graph(seed, kind)
        path = os.path.join(options.folder, f"seed-{seed}.spec")
        with open(path, "w", encoding="ascii") as file: file.write(graph.text(seed))
        try:
            defect = check_defect(options, path, graph, seed, dtype)
            if not defect and kind == "decoder": defect = decode_defect(options, path, graph, seed, dtype)
        except subprocess.TimeoutExpired as error:
            defect = f"{error}\n"
        if defect:
            failed += 1
            print(f"seed {seed}, {kind}, {dtype}:\n{defect}again: {sys.argv[0]} {options.hmoec} {options.folder} --seed {seed} --count 1")
        else:
            base = path[:-5]
            for name in os.listdir(options.folder):
                if os.path.join(options.folder, name).startswith(base + "."): os.unlink(os.path.join(options.folder, name))
        sys.stdout.flush()
    print(f"{options.count} graphs from seed {options.seed}: {failed} failed")
    return failed > 0


sys.exit(main())
