"""Random legal graphs: compiled code against the interpreter, and decoding token by token against a forward pass.

  random_graphs.py HMOEC FOLDER [--count N] [--seed S] [--kind KIND] [--dtype T] [--wild] [--plan-only]

Graph i of a run has seed S + i and its kind in turn (random_graph.py draws them). A graph that the compiler refuses must be refused at a
place, and not with an internal error. A graph that fails stays in FOLDER as seed-N.spec, and the line to run it again is printed."""
import argparse
import os
import random
import re
import subprocess
import sys

import numpy

from random_graph import Graph

# Random graphs cancel and normalise more than models do: one value relative to the largest in f32; in bf16, whose rounding is compared exactly,
# how far that rounding takes the 2-norm from the result in double precision, which is what `check` allows whole models. Where a row is computed from
# one column, that column may cancel with the weights of one seed, and takes it farther: what is wrongly rounded is too far with any weights.
F32_WORST, BF16_FROM_F64, OTHER_WEIGHTS = 1e-3, 3e-2, 4


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def refused_well(path, result):
    """Whether the compiler says where, and what the graph has that it does not compile."""
    return result.returncode == 1 and re.search("^" + re.escape(path) + r":\d+:\d+: error: ", result.stderr, re.M) and "internal" not in result.stderr


def plan_defect(options, path, seed, dtype):
    """Plans and describes kernels, generates no code: fast, and finds what cannot be planned."""
    strategy = random.Random(seed + 2).choice(["auto", "table", "cache", "factored", "per_token"])
    result = run([options.hmoec, "compile", path, "--emit", "mlir", "--dtype", dtype, "--strategy", strategy])
    if result.returncode == 0: return None
    if refused_well(path, result): return Refused(result.stderr)
    return result.stderr


class Refused(str):
    """Why a graph is not compiled."""


def on_target(options):
    return [word for name in ("target", "mcpu") if getattr(options, name) for word in (f"--{name}", getattr(options, name))]


def check_defect(options, path, graph, seed, dtype):
    """What is wrong with compiled code; a Refused: nothing, but it was refused; or None."""
    tokens = random.Random(seed).choice([0, 1, 2, 3, 7, 17, 40, 70, 200])
    if graph.kind == "decoder": tokens = min(tokens, 40 if options.quick else 70)
    elif options.quick: tokens = min(tokens, 40)
    command = [options.hmoec, "check", path, "--tokens", str(tokens), "--dtype", dtype]
    if options.quick: command += ["--strategy", "auto"]
    if options.cpu: command += ["--cpu", options.cpu]
    command += on_target(options)
    command += ["--threads", str(random.Random(seed + 1).choice([1, 2, 8]))]
    saved = ["--save-weights", path + ".safetensors"] if graph.kind == "decoder" else []
    result, text = run_with_text([*command, "--seed", str(seed), *saved])
    if result.returncode == 0: return None
    if NOTHING_LEFT in result.stderr: return None
    if refused_well(path, result): return Refused(result.stderr)
    if "the object holds no" in result.stderr: # no product of this graph is bf16
        options.cpu = "portable"
        return check_defect(options, path, graph, seed, dtype)
    wrong = how_wrong(result, dtype)
    if not wrong: return None
    for other in range(seed + 1, seed + 1 + OTHER_WEIGHTS) if wrong == FAR else []:
        result, again = run_with_text([*command, "--seed", str(other)])
        text += again
        if NOTHING_LEFT in result.stderr: continue
        wrong = how_wrong(result, dtype)
        if not wrong: return None
        if wrong != FAR: break
    return text


FAR = "equal to what rounds, and far from f64"
NOTHING_LEFT = "nothing is left to compare"


def how_wrong(result, dtype):
    """None, FAR or another word for what `check` found."""
    if result.returncode == 0: return None
    if "differs from the interpreter" not in result.stderr or result.returncode != 1: return "failed"
    wrong = None
    for line in result.stdout.splitlines():
        found = re.search(r"(\S+)\s+WRONG(: too far from f64)?$", line)
        if found and dtype == "f32" and not float(found[1]) < F32_WORST: return "wrong"
        if found and dtype == "bf16" and not found[2]: return "wrong"
        if found and dtype == "bf16" and not float(found[1]) < BF16_FROM_F64: wrong = FAR
    return wrong


def run_with_text(command):
    result = run(command)
    return result, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


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
    shared += on_target(options)
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


def features(text, dtype):
    """The ops of a graph, and what is rare enough to be asked for."""
    lines = "\n".join(line for line in text.splitlines() if not re.match(r"(model|dim|option|input|param) ", line))
    found = set(re.findall(r"\b([a-z_]+)\(", lines))
    for attention in re.findall(r"\battention\(.*", lines):
        found.add("causal" if "causal = 1" in attention else "bidirectional")
        if "mask = " in attention: found.add("masked")
    if "hyper_expert" in found: found.add(f"hyper_expert in {dtype}")
    return found


def cpu_of(seed, dtype, flags):
    """One of the code versions that this machine runs."""
    needs = {"portable": set(), "avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512vl"}}
    if dtype == "bf16": needs.update({"avx512_bf16": {"avx512_bf16"}, "amx": {"amx_bf16", "amx_tile"}})
    runs = [name for name in needs if needs[name] <= flags]
    return runs[seed // 4 % len(runs)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hmoec")
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=["rows", "batch", "decoder"])
    parser.add_argument("--dtype", choices=["f32", "bf16"])
    parser.add_argument("--cpu", help="a code version, or `turn`: one of this machine's after the other (default: all of them)")
    parser.add_argument("--target", help="another target than the host, as `hmoec check` takes it")
    parser.add_argument("--mcpu", help="its processors (default: all that it has)")
    parser.add_argument("--wild", action="store_true", help="also what may be refused")
    parser.add_argument("--plan-only", action="store_true", help="look for what cannot be planned")
    parser.add_argument("--quick", action="store_true", help="one strategy of HyperExperts, the best code version, at most 40 tokens")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    failed, refused, covered = 0, [], set()
    turn = options.cpu == "turn"
    with open("/proc/cpuinfo", encoding="ascii") as file: flags = set(re.search(r"^flags\s*:(.*)", file.read(), re.M)[1].split())
    for i in range(options.count):
        seed = options.seed + i
        kind = options.kind or ["rows", "batch", "decoder"][seed % 3]
        dtype = options.dtype or ("bf16" if seed % 4 == 0 else "f32")
        if turn: options.cpu = cpu_of(seed, dtype, flags)
        graph = Graph(seed, kind, options.wild)
        path = os.path.join(options.folder, f"seed-{seed}.spec")
        with open(path, "w", encoding="ascii") as file: file.write(graph.text(seed))
        try:
            if options.plan_only: defect = plan_defect(options, path, seed, dtype)
            else: defect = check_defect(options, path, graph, seed, dtype)
            if not defect and not options.plan_only and kind == "decoder": defect = decode_defect(options, path, graph, seed, dtype)
        except subprocess.TimeoutExpired as error:
            defect = f"{error}\n"
        if not defect: covered |= features(graph.text(seed), dtype)
        if isinstance(defect, Refused): refused.append(defect)
        elif defect:
            failed += 1
            print(f"seed {seed}, {kind}, {dtype}:\n{defect}again: {sys.argv[0]} {options.hmoec} {options.folder} --seed {seed} --count 1")
        if not defect or isinstance(defect, Refused):
            base = path[:-5]
            for name in os.listdir(options.folder):
                if os.path.join(options.folder, name).startswith(base + "."): os.unlink(os.path.join(options.folder, name))
        sys.stdout.flush()
    for reason in sorted(set(re.sub(r"\d+", "N", re.search(r"error: (.*)", r)[1]) for r in refused)): print(f"refused: {reason}")
    print("compiled:", ", ".join(sorted(covered)))
    print(f"{options.count} graphs from seed {options.seed}: {failed} failed, {len(refused)} refused")
    return failed > 0


sys.exit(main())
