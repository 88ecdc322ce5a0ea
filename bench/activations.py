#!/usr/bin/env python3
"""Activations written in C (activations.c) against the built-in ones of the same formula, in one layer of experts.

activations.py [--functions F...] [--dtypes T...] [--layers L...] [--repeats N] [--no-instructions]

The two layers are timed by `hmoec bench`, run by run in turns, and change places from one repeat to the next. Instructions are those of one
run on one thread with the avx2 code, as valgrind counts them; they are the same every time. Needs build/bin/hmoec, and valgrind."""

import argparse
import json
import random
import re
import statistics
import struct
import subprocess
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path

from native import HMOEC, ROOT, RUNTIME, command

FOLDER = ROOT / "build" / "bench" / "activations"
SOURCE = ROOT / "bench" / "activations.c"
COUNTED_CPU, COUNTED_TOKENS = "avx2", 64


@dataclass(frozen=True)
class Layer:
    d_model: int
    d_ff: int
    experts: int
    tokens: tuple

    @property
    def options(self):
        return [f"-Dd_model={self.d_model}", f"-Dd_ff={self.d_ff}", f"-Dexperts={self.experts}"]


LAYERS = {
    "usual": Layer(768, 3072, 8, (64, 512)),
    "narrow": Layer(64, 4096, 8, (64, 512)),  # few multiplications an activation
}

# C function: built-in
FUNCTIONS = {
    "relu": "relu",
    "relu_fmax": "relu",
    "relu_double": "relu",
    "gelu": "gelu",
    "gelu_double": "gelu",
    "gelu_new": "gelu_new",
    "gelu_new_powf": "gelu_new",
    "gelu_new_double": "gelu_new",
    "silu": "silu",
    "silu_double": "silu",
    "sigmoid": "sigmoid",
    "sigmoid_double": "sigmoid",
}

SPEC = """model activation_layer

include "{common}"

input x: f32[tokens, d_model]

routing = switch_route(x)
wi, wo = switch_weights()

output y = combine(experts(x, routing, wi, wo, activation = {activation}), routing)
"""


def write_spec(name, activation):
    path = FOLDER / f"{name}.spec"
    path.write_text(SPEC.format(common="../../../models/layer-common.spec", activation=activation), encoding="utf-8")
    return path


def specs_of(function):
    """(with the built-in, with the C function)"""
    builtin = FUNCTIONS[function]
    written = f'c("../../../{SOURCE.relative_to(ROOT)}", {function})'
    return write_spec(f"builtin-{builtin}", builtin), write_spec(f"c-{function}", written)


def cost(function, layer, dtype, repeats):
    """{tokens: how many times as long the C function takes, a number a repeat}"""
    builtin, written = specs_of(function)
    ratios = {tokens: [] for tokens in layer.tokens}
    result = FOLDER / "bench.json"
    for repeat in range(repeats):
        models = (written, builtin) if repeat % 2 else (builtin, written)
        words = ["--tokens", ",".join(map(str, layer.tokens)), "--dtype", dtype, "--seed", repeat + 1, "--json", result]
        command(HMOEC, "bench", models[0], "--versus", models[1], *words, *layer.options)
        for row in json.loads(result.read_text(encoding="utf-8"))["sizes"]:
            ratio = row["speed_ratio"]
            ratios[row["tokens"]].append(1 / ratio if repeat % 2 else ratio)
    return ratios


def write_weights(path, layer):
    """A checkpoint of numbers that are as large as trained ones."""
    numbers = random.Random(1)
    block = array("f", (numbers.uniform(-1, 1) for _ in range(4096)))
    shapes = {"router.classifier.weight": (layer.experts, layer.d_model)}
    for expert in range(layer.experts):
        shapes[f"experts.expert_{expert}.wi.weight"] = (layer.d_ff, layer.d_model)
        shapes[f"experts.expert_{expert}.wo.weight"] = (layer.d_model, layer.d_ff)
    header, offset, data = {}, 0, bytearray()
    for name, (rows, columns) in shapes.items():
        size = 4 * rows * columns
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [offset, offset + size]}
        data += (block.tobytes() * (size // (4 * len(block)) + 1))[:size]
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def instructions(spec, layer, dtype):
    """Of one run."""
    folder = FOLDER / f"{spec.stem}-{dtype}-{layer.d_model}"
    weights, program = FOLDER / f"weights-{layer.d_model}.safetensors", folder / "one_run"
    if not weights.exists():
        write_weights(weights, layer)
    command(HMOEC, "compile", spec, "-o", folder, "--dtype", dtype, *layer.options)
    headers = [f"-I{folder}", f"-I{ROOT / 'include'}"]
    command("cc", "-O2", "-std=gnu17", *headers, ROOT / "bench" / "one_run.c", folder / "activation_layer.o", *RUNTIME, "-o", program)
    counter = ["valgrind", "--tool=callgrind", "--toggle-collect=hmoe_model_run", "--callgrind-out-file=/dev/null"]
    run = [program, weights, COUNTED_CPU, COUNTED_TOKENS, layer.d_model]
    done = subprocess.run([str(word) for word in counter + run], capture_output=True, text=True, check=False)
    counted = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not counted:
        raise RuntimeError(done.stderr.strip())
    return int(counted[1])


def print_row(*words):
    print("| " + " | ".join(f"{word:.3f}" if isinstance(word, float) else str(word) for word in words) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--functions", nargs="+", default=list(FUNCTIONS), choices=list(FUNCTIONS), metavar="F")
    parser.add_argument("--dtypes", nargs="+", default=["f32", "bf16"], choices=["f32", "bf16"], metavar="T")
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), choices=list(LAYERS), metavar="L")
    parser.add_argument("--repeats", type=int, default=5, help="of the times; 0: instructions only")
    parser.add_argument("--no-instructions", action="store_true")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    functions, layers = arguments.functions, [LAYERS[name] for name in arguments.layers]
    cases = [(dtype, layer, function) for dtype in arguments.dtypes for layer in layers for function in functions]

    if not arguments.no_instructions:
        print_row("function", "dtype", "d_model", "instructions", "of the built-in's")
        print_row("---", "---", "---:", "---:", "---:")
        for dtype, layer, function in cases:
            expected, found = (instructions(spec, layer, dtype) for spec in specs_of(function))
            print_row(function, dtype, layer.d_model, found, found / expected)

    if arguments.repeats:
        print_row("function", "dtype", "d_model", "tokens", "time of the built-in's: median", "least", "most")
        print_row("---", "---", "---:", "---:", "---:", "---:", "---:")
        for dtype, layer, function in cases:
            for tokens, ratios in cost(function, layer, dtype, arguments.repeats).items():
                print_row(function, dtype, layer.d_model, tokens, statistics.median(ratios), min(ratios), max(ratios))


if __name__ == "__main__":
    sys.exit(main())
