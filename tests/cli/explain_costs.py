"""explain_costs.py HMOEC: every number of explain's table, for a model with one of most ops, against what the shapes say."""
import os
import re
import subprocess
import sys

SPEC = """model costs
dim rows = ?, width = ?, d = 800
input ids: i32[rows, width] = 6
input x: f32[rows, width, d]
param t: [1100, d] from "t"
param n1: [d] from "a.n1"
param n2: [d] from "a.n2"
param n3: [d] from "n3"
a = rms_norm(multiply(x, embedding(ids, t)), n1, epsilon = 0.125)
b = flatten(layer_norm(a, n2, n3, epsilon = 0.25))
param router: [5, d] from "router"
param rb: [5] from "rb"
r = route(linear(b, router, bias = rb), top_k = 2, gate = sigmoid, capacity = 3)
param wi[e < 5]: [1200, d] from "e.{e}.wi"
param wo[e < 5]: [d, 1200] from "e.{e}.wo"
param bi[e < 5]: [1200] from "e.{e}.bi"
param bo[e < 5]: [d] from "e.{e}.bo"
m = experts(b, r, wi, wo, bi, bo, activation = gelu)
param vi0[e < 5]: [1200, d] from "g.{e}.wi_0"
param vi1[e < 5]: [1200, d] from "g.{e}.wi_1"
param vo[e < 5]: [d, 1200] from "g.{e}.wo"
param ci0[e < 5]: [1200] from "g.{e}.bi_0"
param ci1[e < 5]: [1200] from "g.{e}.bi_1"
param co[e < 5]: [d] from "g.{e}.bo"
gm = gated_experts(b, r, vi0, vi1, vo, ci0, ci1, co, activation = silu)
param sets: [5, 700] from "sets"
param layers: [3, 200] from "layers"
s = append_row(selection_embedding(r, sets, of = selected, aggregate = sum), layers, row = 1)
param wd: [16000, 900] from "wd"
param bd: [16000] from "bd"
param wu: [16000, 900] from "wu"
param bu: [16000] from "bu"
param vd: [20, 900] from "vd"
param cd: [20] from "cd"
param vu: [800, 900] from "vu"
param cu: [800] from "cu"
param wr: [2, 1600] from "wr"
h = hypernetwork(s, wd, bd, wu, bu, vd, cd, vu, cu, bottleneck = 20)
output y = add(add(combine(m, r), combine(gm, r)), activate(hyper_expert(b, h, strategy = STRATEGY), function = gelu_new))
output z = linear(b, reshape(wr, shape = [4, d]))
"""


def table(rows, tokens, matrix, strategy):
    """(op, when, FLOPs, bytes of weights, bytes moved). matrix: bytes of an element of a matrix that products read."""
    t, d, ff, experts, k, b, cond = rows * tokens, 800, 1200, 5, 2, 20, 900
    row, picks = 4 * d, 2 * t * k * 4
    yield "embedding", "run", 0, min(1100, t) * row, t * 4 + t * row
    yield "multiply", "run", 0, 0, 3 * t * row
    yield "rms_norm", "run", 0, row, 2 * t * row
    yield "layer_norm", "run", 0, 2 * row, 2 * t * row
    yield "linear", "run", 2 * t * experts * d, experts * (d + 1) * 4, t * (d + experts) * 4  # the router stays f32
    yield "route", "run", 0, 0, t * experts * 4 + 3 * t * k * 4
    yield "experts", "run", t * k * 2 * 2 * ff * d, experts * (2 * ff * d * matrix + (ff + d) * 4), t * row + picks + t * k * row
    yield "gated_experts", "run", t * k * 2 * 3 * ff * d, experts * (3 * ff * d * matrix + (2 * ff + d) * 4), t * row + picks + t * k * row
    sums = [("combine", "run", 0, 0, t * k * row + t * k * 4 + t * row)] * 2 + [("add", "run", 0, 0, 3 * t * row)]
    once, when = (1, "set") if strategy == "cache" else (t, "run")
    if strategy == "cache":  # rewritten where it is used
        yield from sums
        yield "distinct_selections", "run", 0, 0, 2 * t * k * 4 + t * 4
    yield "selection_embedding", when, 0, experts * 700 * 4, once * (k + 700) * 4
    yield "append_row", when, 0, 3 * 200 * 4, once * (700 + cond) * 4
    makers = 2 * d * b * cond * matrix + (2 * d * b + (b + d) * (cond + 1)) * 4  # what makes biases, and biases, stay f32
    made = 2 * d * b * matrix + (b + d) * 4
    if strategy != "factored":
        yield "hypernetwork", when, once * 2 * 2 * d * b * cond, makers, once * (cond * 4 + made)
    if strategy == "cache":
        yield "indexed_hyper_expert", "run", t * 4 * d * b, 0, 2 * t * row + t * 4 + t * made
    else:
        yield from sums
    if strategy == "per_token":
        yield "hyper_expert", "run", t * 4 * d * b, 0, 2 * t * row + t * made
    if strategy == "factored":
        yield "factored_hyper_expert", "run", t * (4 * d * b * cond + 4 * d * b), makers, 2 * t * row + t * cond * 4
    yield "activate", "run", 0, 0, 2 * t * row
    yield "add", "run", 0, 0, 3 * t * row
    yield "linear", "run", 2 * t * 4 * d, 4 * d * matrix, t * (d + 4) * 4


def check(hmoec, rows, tokens, dtype, strategy):
    open("costs.spec", "w").write(SPEC.replace("STRATEGY", strategy))
    command = [hmoec, "explain", "costs.spec", "--rows", str(rows), "--tokens", str(tokens), "--dtype", dtype]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    places = {}
    for number, line in enumerate(SPEC.splitlines(), 1):
        for op in ("embedding", "route", "experts", "gated_experts", "selection_embedding", "append_row", "hypernetwork"):
            if re.search(rf"\b{op}\(", line):
                places[op] = number
    expected = [(f"{rows} rows of " if rows > 1 else "") + f"{tokens} tokens, products in {dtype}. MFLOP counts products; MB weights: parameters "
                "and tables an op names; MB moved: its other operands and results.",
                "open: once, when a model is opened; run: every run; set: once for a selection set that the cache lacks.", "",
                f"{'op':<24} {'line':>5}  {'when':<4} {'MFLOP':>11} {'MB weights':>12} {'MB moved':>12}  strategy and reason"]
    totals = {"open": [0, 0, 0], "run": [0, 0, 0], "set": [0, 0, 0]}
    for (op, when, *numbers), found in zip(table(rows, tokens, 2 if dtype == "bf16" else 4, strategy), lines[4:]):
        place = int(found[25:30])
        if place != places.get(op, place):
            sys.exit(f"{op}: expected line {places[op]}, found {place}")
        reason = f"  {strategy}: forced by an option" if "hyper_expert" in op else ""
        expected.append(f"{op:<24} {place:>5}  {when:<4} {numbers[0] / 1e6:11.3f} {numbers[1] / 1e6:12.3f} {numbers[2] / 1e6:12.3f}" + reason)
        totals[when] = [a + b for a, b in zip(totals[when], numbers)]
    for when, numbers in totals.items():
        if numbers[2]:
            expected.append(f"{'total':<24} {'':>5}  {when:<4} {numbers[0] / 1e6:11.3f} {numbers[1] / 1e6:12.3f} {numbers[2] / 1e6:12.3f}")
    expected.append("")
    for a, b in zip(expected, lines):
        if a != b:
            sys.exit(f"{rows} x {tokens}, {dtype}, {strategy}: expected\n{a}\nfound\n{b}")
    if len(lines) < len(expected):
        sys.exit(f"expected {len(expected)} lines, found {len(lines)}")


for case in ((3, 7, "f32", "cache"), (1, 3, "bf16", "cache"), (40, 50, "bf16", "per_token"), (2, 5, "f32", "per_token"), (5, 11, "bf16", "factored")):
    check(os.path.abspath(sys.argv[1]), *case)

# Attention: two products of every query with every key of its row; q, k, v, the result, and a mask.
command = [os.path.abspath(sys.argv[1]), "explain", sys.argv[2], "-D", "layers=1", "--rows", "1000", "--tokens", "61"]
text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
flops, moved = 1000 * 61 * 2 * 2 * 61 * 48, 1000 * 61 * (4 * 48 * 4 + 8)
if not re.search(rf"^attention +\d+  run  +{flops / 1e6:.3f} +0.000 +{moved / 1e6:.3f}$", text, re.M):
    sys.exit(f"expected attention of {flops} FLOPs and {moved} bytes in\n{text}")

# Functions in C stand with the op that they are of, with their place; of one row nothing is said.
open("f.c", "w").write("float half(float x) { return x / 2; }\n\nfloat twice(float x) { return 2 * x; }\n")
open("functions.spec", "w").write('model functions\ndim n = ?\ninput x: f32[n, 6]\nparam w: [4, 6] from "w"\nparam wi[e < 4]: [8, 6] from "wi.{e}"\n'
                                  'param wo[e < 4]: [6, 8] from "wo.{e}"\nr = route(linear(x, w), top_k = 1, gate = "c:f.c:half")\n'
                                  'output y = activate(combine(experts(x, r, wi, wo), r), function = "c:f.c:twice")\n')
text = subprocess.run([os.path.abspath(sys.argv[1]), "explain", "functions.spec"], stdout=subprocess.PIPE, text=True, check=True).stdout
for pattern in (r"\A512 tokens, ", r"^route .*\d  gate @\w*half\w* of f\.c:1$", r"^activate .*\d  function @\w*twice\w* of f\.c:3$", r"^experts .*\d$"):
    if not re.search(pattern, text, re.M):
        sys.exit(f"expected {pattern} in\n{text}")
