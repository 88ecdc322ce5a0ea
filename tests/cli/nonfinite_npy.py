"""Inputs and weights that are not finite.  nonfinite_npy.py make DIR TOKENS COLUMNS: good.npy, and bad.npy with every third row NaN or infinite.
nonfinite_npy.py weights W.safetensors OUT.safetensors [PART=VALUE...]: the first value of every tensor whose key has that part.
nonfinite_npy.py same GOOD.npy BAD.npy: the rows between them are the same, bit for bit."""
import array
import ast
import json
import pathlib
import random
import struct
import sys


def write(path, rows, columns, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    pathlib.Path(path).write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + array.array("f", values).tobytes())


def read(path):
    data = pathlib.Path(path).read_bytes()
    end = 10 + struct.unpack("<H", data[8:10])[0]
    rows, columns = ast.literal_eval(data[10:end].decode())["shape"]
    return rows, columns, data[end:]


if sys.argv[1] == "make":
    folder, rows, columns = pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    random.seed(1)
    values = [random.gauss(0, 1) for _ in range(rows * columns)]
    write(folder / "good.npy", rows, columns, values)
    special = [float("nan"), float("inf"), -float("inf"), -float("nan")]
    for row in range(0, rows, 3):
        places = range(columns) if row % 2 else random.sample(range(columns), 2)
        for place in places:
            values[row * columns + place] = special[(row // 3 + place) % 4 if row % 2 else (row // 3) % 4]
    write(folder / "bad.npy", rows, columns, values)
elif sys.argv[1] == "weights":
    data = bytearray(pathlib.Path(sys.argv[2]).read_bytes())
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    for word in sys.argv[4:]:
        part, value = word.split("=")
        places = [entry["data_offsets"][0] for key, entry in json.loads(data[8:begin]).items() if part in key]
        if not places:
            sys.exit(f"no tensor has {part} in its key")
        for place in places:
            struct.pack_into("<f", data, begin + place, float(value))
    pathlib.Path(sys.argv[3]).write_bytes(data)
else:
    (rows, columns, good), (_, _, bad) = read(sys.argv[2]), read(sys.argv[3])
    stride = 4 * columns
    wrong = [row for row in range(rows) if row % 3 and good[row * stride:(row + 1) * stride] != bad[row * stride:(row + 1) * stride]]
    print(f"{rows} rows, {len(wrong)} wrong", wrong[:8])
    sys.exit(bool(wrong) or rows == 0)
