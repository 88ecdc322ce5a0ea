"""Strategies of a HyperExpert by time against memory: every one forced, and what `auto` takes of the same memory, with routing of several
kinds. Prints, for each case, the time of each strategy and how far the choice is from the fastest that fits.

strategies.py [--threads N] [--cases 64x2,16x4] [--dtypes f32,bf16] [--tokens 64,512] [--routing 0,1,2] [--slots 16,64,256,1024]
              [--width D_MODEL] [--json FILE]

Inputs choose their experts by themselves: the router's weight is the identity on the first columns of x, and a token's first columns have
what its set wants. Sets come by rank, the r-th with a probability of 1 / r^s; which set has which rank is drawn. `chrt -f 5` in front of it
shields it on a machine that others use."""

import argparse
import itertools
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from contenders.ours import Model
from native import BUILD, HMOEC, ROOT, RUNTIME, Built, Native, command, link
from workload import Shape, layer_weights, uniform, write_tensors

SPEC = ROOT / "models" / "hypermoe-layer.spec"
TURNS, TURN_SECONDS, REST_SECONDS = 11, 0.025, 0.004
FRESH = 16  # runs of a turn, whose sets are drawn anew
FILL = 32768  # tokens that caches see before they are measured
SHAPE = replace(Shape(), d_model=256, d_ff=512, layer_rows=2, layer=1)
MOST_SETS = 100000  # that are listed, and that a table has


def dims(experts, top_k):
    values = {"d_model": SHAPE.d_model, "d_ff": SHAPE.d_ff, "experts": experts, "top_k": top_k, "bottleneck": 64, "layers": 2, "layer": 1}
    return list(values.items())


def weights(folder, experts):
    router = np.zeros((experts, SHAPE.d_model), np.float32)
    router[:, :experts] = np.eye(experts, dtype=np.float32)
    tensors = layer_weights(replace(SHAPE, experts=experts), 1, router)
    return write_tensors(folder / f"{experts}.safetensors", tensors.items())


class Routing:
    """Sets by rank. Where they are too many to list them, those are random ones."""

    def __init__(self, experts, top_k, exponent):
        self.generator = np.random.default_rng([experts, top_k, int(10 * exponent)])
        if math.comb(experts, top_k) <= MOST_SETS:
            self.sets = np.array(list(itertools.combinations(range(experts), top_k)))
            self.generator.shuffle(self.sets)
        else:
            self.sets = np.argsort(self.generator.random((MOST_SETS, experts)), axis=1)[:, :top_k]
        chance = np.arange(1, len(self.sets) + 1) ** -float(exponent)
        self.sums = np.cumsum(chance / chance.sum())

    def draw(self, x, experts):
        """What tokens want, anew."""
        ranks = np.searchsorted(self.sums, self.generator.random(len(x)))
        x[:, :experts] = uniform(self.generator, (len(x), experts), 0.1)
        np.put_along_axis(x, self.sets[np.minimum(ranks, len(self.sets) - 1)], np.float32(3), 1)


class Runs:
    """A model on tokens that are drawn before each turn."""

    def __init__(self, model, routing, experts, tokens):
        self.model, self.routing, self.experts = model, routing, experts
        x, self.y = uniform(routing.generator, (FRESH * tokens, SHAPE.d_model), 1), np.empty((tokens, SHAPE.d_model), np.float32)
        self.x = x.reshape(FRESH, tokens, SHAPE.d_model)
        self.arguments = [model.arguments(piece, self.y) for piece in self.x]

    def turn(self):
        self.routing.draw(self.x.reshape(-1, SHAPE.d_model), self.experts)
        time.sleep(REST_SECONDS)
        self.model.run(self.arguments[0])
        seconds, start = [], time.perf_counter()
        for arguments in self.arguments[1:]:
            begin = time.perf_counter()
            self.model.run(arguments)
            seconds.append(time.perf_counter() - begin)
            if time.perf_counter() - start > TURN_SECONDS:
                break
        return sum(seconds) / len(seconds)

    def fill(self, tokens):
        for _ in range(tokens // self.x.shape[0] // self.x.shape[1]):
            self.routing.draw(self.x.reshape(-1, SHAPE.d_model), self.experts)
            for arguments in self.arguments:
                self.model.run(arguments)


def by_turns(runs):
    turns = {name: [] for name in runs}
    for turn in range(TURNS):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            turns[name].append(runs[name].turn())
    return {name: median(seconds) for name, seconds in turns.items()}


def built(native, dtype, experts, top_k, strategy, budget, tokens, exponent):
    """A layer of one strategy. budget: bytes, or 0. tokens, exponent: that it is weighed for."""
    folder = native.folder / f"strategies-{SHAPE.d_model}-{experts}x{top_k}-{dtype}-{strategy}-{budget}-{tokens}-{exponent}"
    options = [word for dim, value in dims(experts, top_k) for word in ("-D", f"{dim}={value}")]
    options += ["--dtype", dtype, "--strategy", strategy, "--tokens", tokens, "--routing", f"zipf:{exponent}"]
    options += ["--table-budget", budget] if budget else []
    command(HMOEC, "compile", SPEC, "-o", folder, *options)
    library = link(folder / "liblayer.so", folder / "hypermoe_layer.o", *RUNTIME)
    return Built("hypermoe_layer", library, 0, 0, {})


def choice(dtype, experts, top_k, tokens, exponent, budget):
    """What auto takes of so many bytes: the name of a variant, and the time a run that is predicted."""
    options = [word for dim, value in dims(experts, top_k) for word in ("-D", f"{dim}={value}")]
    options += ["--dtype", dtype, "--tokens", tokens, "--routing", f"zipf:{exponent}", "--emit", "hmoe"]
    text = command(HMOEC, "compile", SPEC, *options, *(["--table-budget", budget] if budget else []))
    strategy = re.search(r'hmoe.strategy = "(\w+)"', text)[1]
    slots = re.search(r"hmoe.slots = (\d+)", text)
    return f"cache {slots[1]}" if strategy == "cache" else strategy


def predicted(dtype, experts, top_k, tokens, exponent, names):
    """{name: seconds of the HyperExpert alone}, as explain says."""
    options = [word for dim, value in dims(experts, top_k) for word in ("-D", f"{dim}={value}")]
    text = command(HMOEC, "explain", SPEC, *options, "--dtype", dtype, "--tokens", tokens, "--routing", f"zipf:{exponent}")
    rows = re.findall(r"^ +[0-9.]+ +([0-9.]+)  [* ] (\w+)(?: of (\d+))?$", text, re.MULTILINE)
    times = {f"{strategy} {slots}".strip(): 1e-6 * float(us) for us, strategy, slots in rows}
    return {name: times[name] for name in names}


def measure(native, given, dtype, experts, top_k):
    """Prints and returns the rows of a case."""
    set_bytes = 2 * SHAPE.d_model * 64 * (2 if dtype == "bf16" else 4)
    sets = math.comb(experts, top_k)
    memory = {f"cache {n}": int(n) * set_bytes for n in given.slots.split(",") if int(n) < sets}
    memory |= {"table": sets * set_bytes} if sets <= MOST_SETS else {}
    memory |= {"factored": 0, "per_token": 0}
    path, rows = weights(native.folder, experts), []

    def opened(name, tokens, exponent):
        return Model(built(native, dtype, experts, top_k, name.split()[0], memory[name], tokens, exponent), path, given.threads)

    kept = {name: opened(name, 512, 0) for name in memory if not name.startswith("cache")}
    for exponent, tokens in itertools.product(map(float, given.routing.split(",")), map(int, given.tokens.split(","))):
        routing = Routing(experts, top_k, exponent)
        models = {name: kept[name] if name in kept else opened(name, tokens, exponent) for name in memory}
        runs = {name: Runs(model, routing, experts, tokens) for name, model in models.items()}
        for name in models.keys() - kept.keys():
            Runs(models[name], routing, experts, 512).fill(FILL)
        times = by_turns(runs)
        print(f"{experts}x{top_k} {dtype}, {tokens} tokens, zipf {exponent:g}, us a run: ", end="")
        print(", ".join(f"{name} {1e6 * seconds:.0f}" for name, seconds in times.items()), flush=True)
        expected = predicted(dtype, experts, top_k, tokens, exponent, times)
        print("    predicted, of the HyperExpert alone: ", end="")
        print(", ".join(f"{name} {1e6 * seconds:.0f}" for name, seconds in expected.items()), flush=True)
        row = {"experts": experts, "top_k": top_k, "dtype": dtype, "zipf": exponent, "tokens": tokens, "seconds": times, "predicted": expected}
        rows.append(row | {"chosen": []})
        for size in sorted({1, *memory.values()} - {0}):
            chosen = choice(dtype, experts, top_k, tokens, exponent, size)
            best = min((name for name in times if memory[name] <= size), key=times.get)
            regret = times[chosen] / times[best] - 1 if chosen in times else math.nan
            rows[-1]["chosen"].append({"bytes": size, "chosen": chosen, "fastest": best, "regret": regret})
            print(f"    {size / 1e6:7.1f} MB: {chosen}, {100 * regret:.1f} % over {best}", flush=True)
        for name, model in models.items():
            if name not in kept:
                model.close()
    for model in kept.values():
        model.close()
    return rows


def main():
    global SHAPE
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", default="64x2,16x4")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--tokens", default="64,512")
    parser.add_argument("--routing", default="0,1,2")
    parser.add_argument("--slots", default="16,64,256,1024")
    parser.add_argument("--width", type=int, default=SHAPE.d_model)
    parser.add_argument("--json")
    given = parser.parse_args()
    SHAPE = replace(SHAPE, d_model=given.width, d_ff=2 * given.width)
    native, rows = Native(BUILD / "bench" / "strategies"), []
    for case, dtype in itertools.product(given.cases.split(","), given.dtypes.split(",")):
        rows += measure(native, given, dtype, *map(int, case.split("x")))
    regrets = [chosen["regret"] for row in rows for chosen in row["chosen"]]
    print(f"{len(regrets)} choices, {sum(not r <= 0.05 for r in regrets)} more than 5 % over the fastest, at most {100 * max(regrets):.1f} %")
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
