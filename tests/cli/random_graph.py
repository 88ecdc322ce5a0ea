"""What random_graphs.py draws: the text of a spec, legal by docs/spec.md, of every op but weight_embedding, whose images are too large.

Graph(seed, kind) with kind rows (f32[tokens, columns]), batch (f32[batch, length, columns], ids, masks) or decoder (ids, causal attention,
logits). `wild` draws what the compiler may refuse too: outputs of parameters alone, fixed sizes, strategies that do not fit."""
import random
import re

WIDTHS = [1, 5, 16, 31, 33, 48, 100]
FUNCTIONS = ["relu", "gelu", "gelu_new", "silu", "sigmoid"]
GATES = ["softmax_then_topk", "topk_then_softmax", "softmax_topk_renorm", "sigmoid", "sigmoid, renorm = 1"]
STRATEGIES = ["auto", "auto", "auto", "factored", "per_token", "cache", "table"]


class Value:
    """A named tensor of the graph: rows "flat" or "batch" of an origin, and columns."""

    def __init__(self, name, rows, origin, width, is_ids=False):
        self.name, self.rows, self.origin, self.width, self.is_ids, self.uses = name, rows, origin, width, is_ids, 0


class Graph:
    def __init__(self, seed, kind, wild=False):
        self.random = random.Random(seed)
        self.wild, self.routes = wild, []
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
        """A tensor of the checkpoint itself."""
        self.counter += 1
        p = f"p{self.counter}"
        stack = f"[e < {count}]" if count else ""
        dims = ", ".join(str(d) for d in shape)
        self.lines.append(f'param {p}{stack}: [{dims}] from "{p}{".{e}" if count else ""}"')
        return p

    def matrix(self, rows, columns, depth=0):
        """A matrix of parameters: mostly a tensor, else made of some in any way."""
        if depth > 2 or self.chance(0.75): return self.param([rows, columns])
        again = lambda r, c: self.matrix(r, c, depth + 1)
        choice = self.random.randrange(16)
        if choice <= 1: return f"transpose({again(columns, rows)})"
        if choice == 2 or choice == 12: return self.part([rows, columns], lambda shape: again(*shape))
        if choice == 13: return self.joined([rows, columns], lambda shape: again(*shape))
        if choice == 14: return self.squeezed([rows, columns], lambda shape: self.stack(shape[0], shape[1:], depth + 1))
        if choice == 15: return self.scaled(again(rows, columns), [rows, columns], depth)
        if choice == 3:
            by = [d for d in range(1, rows * columns + 1) if rows * columns % d == 0]
            d = self.random.choice(by)
            x = again(d, rows * columns // d) if self.chance(0.7) else self.vector(rows * columns, depth + 1)
            return f"reshape({x}, shape = [{rows}, {columns}])"
        if choice == 4:
            k = self.random.choice([1, 5, 33])
            return f"linear({again(rows, k)}, {again(columns, k)}" + (f", {self.vector(columns, depth + 1)})" if self.chance(0.5) else ")")
        if choice == 5: return f"activate({again(rows, columns)}, function = {self.random.choice(FUNCTIONS)})"
        if choice == 6: return f"{self.random.choice(['add', 'multiply'])}({again(rows, columns)}, {again(rows, columns)})"
        if choice == 7: return f"scale({again(rows, columns)}, inverse_sqrt = {self.random.choice([1, 2, 64])})"
        if choice == 8: return f"rms_norm({again(rows, columns)}, {self.vector(columns, depth + 1)}, epsilon = 1e-2)"
        if choice == 9 and columns > 1:
            at, n = self.random.randrange(1, columns), self.random.randrange(1, 5)
            return f"append_row({again(rows, at)}, {again(n, columns - at)}, row = {self.random.randrange(n)})"
        if choice == 10: return self.param([columns], rows) # a stack of vectors
        if rows % 2 == 0: return f"reshape({self.param([rows // 2, columns], 2)}, shape = [{rows}, {columns}])"
        p = self.param([rows, columns])
        return f"layer_norm({p}, {self.vector(columns, depth + 1)}, {self.vector(columns, depth + 1)}, epsilon = 1e-2)"

    def vector(self, n, depth=0):
        if depth > 2 or self.chance(0.85): return self.param([n])
        again = lambda shape: self.vector(shape[0], depth + 1)
        choice = self.random.randrange(7)
        if choice <= 1: return self.squeezed([n], lambda shape: self.matrix(shape[0], shape[1], depth + 1))
        if choice == 2: return self.part([n], again)
        if choice == 3 and n > 1: return self.joined([n], again)
        if choice == 4: return self.scaled(again([n]), [n], depth)
        if choice == 5: return f"{self.random.choice(['add', 'multiply'])}({again([n])}, activate({again([n])}, function = {self.random.choice(FUNCTIONS)}))"
        return f"reshape({self.matrix(1, n, depth + 1) if self.chance(0.5) else self.matrix(n, 1, depth + 1)}, shape = [{n}])"

    def part(self, shape, make):
        """A tensor as a slice of what `make` makes of a larger shape."""
        axis, step, begin = self.random.randrange(len(shape)), self.random.choice([1, 1, 2, 3]), self.random.randrange(4)
        end = begin + (shape[axis] - 1) * step + 1 + self.random.randrange(step)
        larger = shape[:axis] + [end + self.random.choice([0, 0, 3])] + shape[axis + 1:]
        options = f", begin = {begin}, end = {end}"
        if axis < len(shape) - 1 or self.chance(0.3): options += f", axis = {axis if self.chance(0.5) else axis - len(shape)}"
        if step > 1: options += f", step = {step}"
        return f"slice({make(larger)}{options})"

    def squeezed(self, shape, make):
        """A tensor as one part of what has an axis more."""
        axis, count = self.random.randrange(len(shape) + 1), self.random.choice([1, 3])
        at = self.random.randrange(count)
        return f"slice({make(shape[:axis] + [count] + shape[axis:])}, axis = {axis}, begin = {at}, end = {at + 1}, squeeze = 1)"

    def joined(self, shape, make):
        """A tensor as pieces one behind the other."""
        axis = self.random.choice([i for i, n in enumerate(shape) if n > 1] or [None])
        if axis is None: return make(shape)
        cuts = sorted({0, shape[axis]} | {self.random.randrange(1, shape[axis]) for _ in range(self.random.choice([1, 1, 2]))})
        pieces = [make(shape[:axis] + [b - a] + shape[axis + 1:]) for a, b in zip(cuts, cuts[1:])]
        return f"concat({', '.join(pieces)}" + (f", axis = {axis})" if axis < len(shape) - 1 or self.chance(0.3) else ")")

    def scaled(self, x, shape, depth=2):
        factor = self.random.choice(["", f", {self.vector(shape[-1], depth + 1)}"])
        if len(shape) == 2 and self.chance(0.4): factor = f", {self.matrix(shape[0], 1, depth + 1)}"
        return f"scale({x}{factor}{self.random.choice(['', ', by = 0.5', ', by = -1.25', ', inverse_sqrt = 3'])})"

    def stack(self, count, shape, depth=0):
        """Matrices or vectors of experts."""
        if depth > 1 or self.chance(0.6): return self.param(shape, count)
        if len(shape) == 1: return self.matrix(count, shape[0])
        again = lambda s: self.stack(s[0], s[1:], depth + 1)
        choice = self.random.randrange(8)
        if choice <= 1: return self.part([count] + shape, again)
        if choice == 2: return self.joined([count] + shape, again)
        if choice == 3: return f"transpose({again([count] + shape[::-1])})"
        if choice == 4:
            functions = [f"activate({{}}, function = {self.random.choice(FUNCTIONS)})", "scale({}, by = 2)", f"scale({{}}, {self.vector(shape[1])})"]
            return self.random.choice(functions).format(again([count] + shape))
        choice = self.random.randrange(3)
        if choice == 0: return f"transpose({self.param(shape[::-1], count)})"
        if choice == 1: return self.param([count] + shape)
        return f"reshape({self.matrix(count * shape[0], shape[1])}, shape = [{count}, {shape[0]}, {shape[1]}])"

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
        w = self.matrix(width, x.width)
        bias = self.chance(0.4) if bias is None else bias
        b = f", {self.vector(width)}" if bias else ""
        return self.emit(f"linear({self.use(x)[0]}, {w}{b})", x.rows, x.origin, width)

    def activate(self, x):
        return self.emit(f"activate({self.use(x)[0]}, function = {self.random.choice(FUNCTIONS + ['none'])})", x.rows, x.origin, x.width)

    def add(self, a, b):
        if self.chance(0.5): a, b = b, a
        return self.emit("add({}, {})".format(*self.use(a, b)), a.rows, a.origin, a.width)

    def norm(self, x):
        w = self.vector(x.width)
        if self.chance(0.5): y = f"rms_norm({self.use(x)[0]}, {w})"
        else: y = f"layer_norm({self.use(x)[0]}, {w}, {self.vector(x.width)})"
        if self.chance(0.15): y = f"scale({y}, {self.random.choice(['inverse_sqrt = 2', 'inverse_sqrt = 64', 'by = 0.3', 'by = -2'])})"
        return self.emit(y, x.rows, x.origin, x.width)

    def slice(self, x):
        begin = self.random.randrange(x.width)
        end = self.random.randrange(begin + 1, x.width + 1)
        if self.chance(0.5) and x.width > self.width:
            begin = self.random.randrange(x.width - self.width + 1)
            end = begin + self.width
        step = self.random.choice([1, 1, 2, 3])
        options = f", step = {step}" if step > 1 else ""
        return self.emit(f"slice({self.use(x)[0]}, begin = {begin}, end = {end}{options})", x.rows, x.origin, (end - begin - 1) // step + 1)

    def concat(self, x):
        pieces = [x] + [self.pick(lambda v: (v.rows, v.origin) == (x.rows, x.origin)) for _ in range(self.random.choice([1, 1, 2]))]
        if sum(v.width for v in pieces) > 200: return None
        return self.emit(f"concat({', '.join(self.use(*pieces))})", x.rows, x.origin, sum(v.width for v in pieces))

    def gated(self, x, width):
        """A dense feed-forward network with gates and ups."""
        linear = lambda bias: f"linear({self.use(x)[0]}, {self.matrix(width, x.width)}" + (f", {self.vector(width)})" if bias else ")")
        bias = self.chance(0.3)
        factors = [f"activate({linear(bias)}, function = {self.random.choice(FUNCTIONS)})", linear(bias if self.chance(0.9) else not bias)]
        if self.chance(0.3): factors.reverse()
        return self.emit(f"multiply({', '.join(factors)})", x.rows, x.origin, width)

    def product(self, a, b):
        return self.emit("multiply({}, {})".format(*self.use(a, b)), a.rows, a.origin, a.width)

    def scale(self, x):
        factor = ""
        if self.chance(0.3): factor = f", {self.vector(x.width)}"
        elif self.chance(0.4):
            z = self.pick(lambda v: (v.rows, v.origin) == (x.rows, x.origin))
            at = self.random.randrange(z.width)
            factor = f", slice({self.use(z)[0]}, begin = {at}, end = {at + 1})"
        number = self.random.choice([f", inverse_sqrt = {self.random.choice([1, 2, 64])}", ", by = -0.75", ", by = 2, inverse_sqrt = 3", ""])
        return self.emit(f"scale({self.use(x)[0]}{factor}{number})", x.rows, x.origin, x.width)

    def append(self, x):
        if x.rows != "flat": return None
        n, c = self.random.randrange(1, 4), self.random.choice([1, 5, 33])
        return self.emit(f"append_row({self.use(x)[0]}, {self.matrix(n, c)}, row = {self.random.randrange(n)})", "flat", x.origin,
                         x.width + c)

    def multiply(self, x, z, width):
        def factor(v):
            y = f"linear({self.use(v)[0]}, {self.matrix(width, v.width)}"
            y += f", {self.vector(width)})" if self.chance(0.3) else ")"
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
            s = f"selection_embedding({r}, {self.matrix(experts, e)}, of = {of}, aggregate = {self.random.choice(['sum', 'mean'])})"
            if self.chance(0.2):
                n = self.random.randrange(1, 3)
                s, e = f"append_row({s}, {self.matrix(n, 2)}, row = {self.random.randrange(n)})", e + 2
            s = f"activate(linear({s}, {self.matrix(hidden, e)}, {self.vector(hidden)}), function = relu)"
            if self.chance(0.15): s = f"scale({s}, inverse_sqrt = 3)"
            if self.chance(0.1): s = self.scaled(s, [hidden])
            if self.chance(0.1) and hidden > 1:
                v = self.emit(s, "selection", tokens.origin, hidden)
                self.values.remove(v)
                at = self.random.randrange(1, hidden)
                s = f"concat(slice({v.name}, begin = {at}, end = {hidden}), slice({v.name}, begin = 0, end = {at}))"
            if self.chance(0.1):
                v = self.emit(s, "selection", tokens.origin, hidden)
                self.values.remove(v)
                s, hidden = f"slice({v.name}, begin = 0, end = {hidden}, step = 2)", (hidden + 1) // 2
            if self.chance(0.1): s = f"rms_norm({s}, {self.vector(hidden)}, epsilon = 1e-2)"
            if self.chance(0.15):
                v = self.emit(s, "selection", tokens.origin, hidden)
                self.values.remove(v)
                s = f"{self.random.choice(['multiply', 'add'])}({v.name}, {v.name})"
        elif self.chance(0.5):
            s = f"activate(linear({self.use(tokens)[0]}, {self.param([hidden, h])}, {self.param([hidden])}), function = relu)"
        else:
            s, hidden = self.use(tokens)[0], h
            if h > 33: return None
        weights = [self.matrix(h * b, hidden), self.vector(h * b), self.matrix(b * h, hidden), self.vector(b * h)]
        if self.chance(0.5): weights += [self.matrix(b, hidden), self.vector(b), self.matrix(h, hidden), self.vector(h)]
        strategy = self.random.choice(STRATEGIES if self.wild else STRATEGIES[:5])
        return self.emit(f"hyper_expert({self.use(tokens)[0]}, hypernetwork({s}, {', '.join(weights)}, bottleneck = {b}), "
                         f"strategy = {strategy})", "flat", tokens.origin, h)

    def experts(self, x, keep_rows=False):
        """Routing, experts and perhaps a HyperExpert; the sum has the rows of x."""
        experts, h, f = self.random.choice([1, 2, 3, 5, 8]), x.width, self.random.choice([1, 5, 31, 48, 100])
        top_k = self.random.choice([1, 1, 2, 3]) if experts >= 3 else self.random.randrange(1, experts + 1)
        gate, capacity = self.random.choice(GATES), self.random.choice([0, 0, 2, 7])
        again = [t for t in self.routes if t[:2] == (x.rows, x.origin)]
        if again and self.chance(0.3):
            r, experts, top_k = self.random.choice(again)[2:]
        else:
            logits = self.linear(x, experts)
            if self.chance(0.8): self.values.remove(logits)
            elif self.chance(0.5): logits = self.random.choice([self.activate, self.scale])(logits)
            r = self.name()
            self.lines.append(f"{r} = route({logits.name}, top_k = {top_k}, gate = {gate}, capacity = {capacity})")
            self.routes.append((x.rows, x.origin, r, experts, top_k))
        tokens = self.flatten(x) if x.rows == "batch" else x
        gated = self.chance(0.3)
        stacks = [self.stack(experts, [f, h]) for _ in range(1 + gated)] + [self.stack(experts, [h, f])]
        if gated and self.chance(0.4): # gates and ups in one
            fused, between = self.name(), self.chance(0.5)
            turned = self.chance(0.3)
            stack = self.stack(experts, [h, 2 * f] if turned else [2 * f, h])
            self.lines.append(f"{fused} = {stack}")
            bounds = [f"begin = {i}, end = {2 * f}, step = 2" if between else f"begin = {i * f}, end = {(i + 1) * f}" for i in range(2)]
            stacks[:2] = [f"transpose(slice({fused}, {b}))" if turned else f"slice({fused}, axis = 1, {b})" for b in bounds]
        if self.chance(0.4): stacks += [self.stack(experts, [f]) for _ in range(1 + gated)] + [self.stack(experts, [h])]
        op = "gated_experts" if gated else "experts"
        e = self.name()
        self.lines.append(f"{e} = {op}({self.use(tokens)[0]}, {r}, {', '.join(stacks)}, activation = {self.random.choice(FUNCTIONS)})")
        between = None
        if self.chance(0.3): between = self.step()
        y = self.emit(f"combine({e}, {r})", "flat", x.origin, h)
        if self.chance(0.1): y = self.add(y, self.emit(f"combine({e}, {r})", "flat", x.origin, h))
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
        choice = self.random.randrange(7)
        if choice == 0: return self.linear(n, x.width)
        if choice == 1: return self.linear(self.activate(self.linear(n, self.random.choice([33, 100, 130]))), x.width)
        if choice == 2: return self.linear(self.multiply(n, n, self.random.choice([31, 100])), x.width)
        if choice == 6: return self.linear(self.gated(n, self.random.choice([31, 64, 100])), x.width)
        if choice == 3 and n.width <= 100: return self.experts(n)
        if choice == 4 and x.rows == "batch": return self.linear(self.attention(n, causal=self.causal()), x.width)
        return self.activate(self.linear(n, x.width))

    def causal(self):
        return True if self.kind == "decoder" else None

    def step(self):
        """One more value, or several. None: what was drawn fits nothing."""
        x = self.pick()
        choice = self.random.randrange(24)
        if choice == 20: return self.concat(x)
        if choice == 21: return self.gated(x, self.random.choice(self.widths))
        if choice == 22: return self.linear(self.gated(x, self.random.choice(self.widths)), x.width)
        if choice == 23: return self.scale(x)
        if choice == 15: return self.product(x, self.pick(self.same(x)))
        if choice == 16: return self.scale(x)
        if choice == 17 and x.width <= 100: return self.append(x)
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
        if self.wild and self.chance(0.05): chosen.append(Value(self.matrix(3, 4), "open", "", 4))
        for i, v in enumerate(chosen): self.lines.append(f"output y{i} = {v.name}")

    def plain(self):
        origins = ["a"] if self.chance(0.8) else ["a", "b"]
        batch = self.kind == "batch"

        dims = ["batch"] * batch + [f"length_{o}" for o in origins]
        self.random.shuffle(dims)
        self.lines.append("dim " + ", ".join(f"{d} = {3 if self.wild and self.chance(0.03) else '?'}" for d in dims))
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
            if batch and self.chance(0.4):
                self.lines.append(f"input ids_{o}: {self.random.choice(['i32', 'i64'])}[batch, length_{o}]")
                w = self.random.choice(self.widths)
                self.emit(f"embedding(ids_{o}, {self.param([self.random.choice([2, 33]), w])})", "batch", o, w)
            if self.masks.get(o) and self.chance(0.2):
                self.emit(f"position_embedding(mask_{o}, {self.param([200, self.width])})", "batch", o, self.width)
        if not batch: self.like = {}
        for _ in range(min(self.random.randrange(1, 12), self.random.randrange(1, 12))): self.step() # small ones rather
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
