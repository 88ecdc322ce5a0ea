"""broken_weights.py GOOD.safetensors FOLDER: one broken variant a file; also FOLDER/../surplus.safetensors, which is not broken.
broken_weights.py --inputs FOLDER: x.npy and bad_*.npy."""
import json
import os
import struct
import sys

import numpy


def write_inputs(folder):
    x = numpy.random.default_rng(1).standard_normal((5, 37)).astype(numpy.float32)
    numpy.save(f"{folder}/x.npy", x)
    numpy.save(f"{folder}/bad_width.npy", x[:, :36].copy())
    numpy.save(f"{folder}/bad_rank.npy", x[0])
    numpy.save(f"{folder}/bad_type.npy", x.astype(numpy.int32))
    numpy.save(f"{folder}/bad_order.npy", numpy.asfortranarray(x))
    good = open(f"{folder}/x.npy", "rb").read()
    open(f"{folder}/bad_cut.npy", "wb").write(good[:-3])
    open(f"{folder}/bad_magic.npy", "wb").write(b"NOTNUMPY" + good[8:])


def load(path):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def save(path, header, body, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text) if length is None else length) + text + body)


def write_broken(good, folder):
    os.makedirs(folder, exist_ok=True)
    header, body = load(good)
    router, last = "router.classifier.weight", "experts.expert_3.wo.weight"

    def variant(name, change, data=body, **more):
        copy = json.loads(json.dumps(header))
        change(copy)
        save(f"{folder}/{name}.safetensors", copy, data, **more)

    def nothing(copy):
        pass

    def shift(copy):
        begin, end = copy[router]["data_offsets"]
        copy[router]["data_offsets"] = [begin + 4, end + 4]

    variant("truncated", nothing, body[:-5])
    variant("oversized", nothing, body + b"\0" * 12)
    variant("overlapping", shift)
    variant("wrong_dtype", lambda h: h[router].update(dtype="I32"))
    variant("unknown_dtype", lambda h: h[router].update(dtype="F33"))
    variant("wrong_shape", lambda h: h[router].update(shape=[37, 7]))
    variant("shape_overflow", lambda h: h[router].update(shape=[2**62, 2**62]))
    variant("negative_shape", lambda h: h[router].update(shape=[-7, -37]))
    variant("offsets_outside", lambda h: h[router].update(data_offsets=[0, 2**50]))
    variant("offsets_backwards", lambda h: h[router].update(data_offsets=h[router]["data_offsets"][::-1]))
    variant("header_too_long", nothing, length=2**40)
    variant("header_longer_than_file", nothing, length=len(body) + 10**6)
    save(f"{folder}/not_json.safetensors", b"{not json", body)
    keys = [key for key in header if key != last]
    save_subset(f"{folder}/missing.safetensors", header, body, keys)
    extra = dict(header)
    extra["another.tensor"] = {"dtype": "F32", "shape": [2], "data_offsets": [len(body), len(body) + 8]}
    save(f"{folder}/../surplus.safetensors", extra, body + b"\0" * 8)


def save_subset(path, header, body, keys):
    kept, data = {}, b""
    for key in keys:
        if key == "__metadata__":
            continue
        begin, end = header[key]["data_offsets"]
        kept[key] = dict(header[key], data_offsets=[len(data), len(data) + end - begin])
        data += body[begin:end]
    save(path, kept, data)


if sys.argv[1] == "--inputs":
    write_inputs(sys.argv[2])
else:
    write_broken(sys.argv[1], sys.argv[2])
