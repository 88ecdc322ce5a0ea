"""The layers' experts from their equations: runs `hmoec run` with random weights and compares with plain loops over the tensors of the checkpoint.

  expert_layers.py HMOEC MODEL FOLDER NAME=VALUE...

NAME=VALUE are dims and options of moe-layer or moe-share-layer, without capacity; their activation is relu, silu or sigmoid."""
import array
import json
import math
import pathlib
import random
import struct
import subprocess
import sys

DIMS = {"d_model": 9, "d_ff": 7, "experts": 5, "top_k": 2, "shared_d_ff": 6}
OPTIONS = {"activation": "relu", "gate": "softmax_then_topk", "renorm": "0", "gated": "0", "expert_bias": "0", "shared_expert": "0", "shared_gate": "0"}
TOKENS = 11


def sigmoid(v): return 1 / (1 + math.exp(-v))


FUNCTIONS = {"relu": lambda v: max(v, 0), "silu": lambda v: v * sigmoid(v), "sigmoid": sigmoid}


def write_npy(path, rows, columns, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + array.array("f", values).tobytes())


def read_npy(path):
    data = path.read_bytes()
    return array.array("f", data[10 + struct.unpack("<H", data[8:10])[0]:])


def read_tensors(path):
    """{key: rows}; a vector is one row."""
    data = path.read_bytes()
    begin, found = 8 + int.from_bytes(data[:8], "little"), {}
    for key, entry in json.loads(data[8:begin]).items():
        if key == "__metadata__": continue
        first, last = entry["data_offsets"]
        values, columns = array.array("f", data[begin + first:begin + last]), entry["shape"][-1]
        found[key] = [values[i:i + columns] for i in range(0, len(values), columns)]
    return found


def linear(tensors, key, x):
    y = [sum(a * b for a, b in zip(x, row)) for row in tensors[f"{key}.weight"]]
    bias = tensors.get(f"{key}.bias")
    return [a + b for a, b in zip(y, bias[0])] if bias else y


def expert(tensors, key, x, options):
    f = FUNCTIONS[options["activation"]]
    if options["gated"] == "1":
        hidden = [f(a) * b for a, b in zip(linear(tensors, f"{key}.wi_0", x), linear(tensors, f"{key}.wi_1", x))]
    else:
        hidden = [f(a) for a in linear(tensors, f"{key}.wi", x)]
    return linear(tensors, f"{key}.wo", hidden)


def gates(logits, selected, options):
    kind = options["gate"]
    if kind == "sigmoid":
        g = [sigmoid(logits[e]) for e in selected]
        return [v / sum(g) for v in g] if options["renorm"] == "1" else g
    members = selected if kind != "softmax_then_topk" else range(len(logits))
    total = sum(math.exp(logits[e]) for e in members)
    return [math.exp(logits[e]) / total for e in selected]


def layer(tensors, x, top_k, options, has_shared):
    logits = linear(tensors, "router.classifier", x)
    selected = sorted(range(len(logits)), key=lambda e: -logits[e])[:top_k]
    y = [0.0] * len(x)
    for e, g in zip(selected, gates(logits, selected, options)):
        y = [a + g * b for a, b in zip(y, expert(tensors, f"experts.expert_{e}", x, options))]
    if has_shared:
        g = sigmoid(linear(tensors, "share.gate", x)[0]) if options["shared_gate"] == "1" else 1
        y = [a + g * b for a, b in zip(y, expert(tensors, "share", x, options))]
    return y


def main():
    hmoec, model, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    given = dict(word.split("=", 1) for word in sys.argv[4:])
    dims = DIMS | {name: int(value) for name, value in given.items() if name in DIMS}
    options = OPTIONS | {name: value for name, value in given.items() if name not in DIMS}
    defines = [word for name, value in (dims | given).items() for word in ("-D", f"{name}={value}")]
    folder.mkdir(parents=True, exist_ok=True)
    weights, x_file, y_file = (folder / name for name in ("w.safetensors", "x.npy", "y.npy"))
    subprocess.run([hmoec, "check", model, *defines, "--tokens", "3", "--save-weights", weights], check=True, stdout=subprocess.DEVNULL)
    random.seed(5)
    width = dims["d_model"]
    x = array.array("f", [random.gauss(0, 1) for _ in range(TOKENS * width)])
    write_npy(x_file, TOKENS, width, x)
    subprocess.run([hmoec, "run", model, *defines, "--weights", weights, "--input", f"x={x_file}", "--output", f"y={y_file}"], check=True,
                   stdout=subprocess.DEVNULL)
    tensors, got = read_tensors(weights), read_npy(y_file)
    has_shared = options["shared_expert"] == "1" or "moe-share" in model
    wanted = [v for t in range(TOKENS) for v in layer(tensors, x[t * width:(t + 1) * width], dims["top_k"], options, has_shared)]
    worst, largest = max(abs(a - b) for a, b in zip(got, wanted)), max(map(abs, wanted))
    print(f"{len(got)} values, {worst / largest:.1e}", "same" if len(got) == len(wanted) and worst <= 1e-5 * largest else "WRONG")


main()
