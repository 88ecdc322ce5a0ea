"""fused_gate_up.py FUSED.safetensors PLAIN.safetensors: the tensors of fused_gate_up.test's first model as those of its second.

gate_up_proj [N, D, 2 F] and its bias have gates in even and ups in odd columns; shared.gate_up [2 S, D] has gates, then ups."""
import json
import struct
import sys

import numpy


def read(path):
    with open(path, "rb") as file: data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    body = data[8 + size:]
    return {k: numpy.frombuffer(body[slice(*v["data_offsets"])], "<f4").reshape(v["shape"]) for k, v in json.loads(data[8:8 + size]).items() if k != "__metadata__"}


def write(path, tensors):
    header, body = {}, b""
    for key, value in tensors.items():
        data = numpy.ascontiguousarray(value, "<f4").tobytes()
        header[key] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file: file.write(struct.pack("<Q", len(text)) + text + body)


def main():
    fused = read(sys.argv[1])
    plain = {k: fused[k] for k in ["norm", "router.weight", "router.bias", "down_proj_bias", "shared.down", "shared.gate"]}
    width = fused["shared.gate_up"].shape[0] // 2
    plain["shared.w_0"], plain["shared.w_1"] = fused["shared.gate_up"][:width], fused["shared.gate_up"][width:]
    plain["bias_0"], plain["bias_1"] = fused["gate_up_proj_bias"][:, 0::2], fused["gate_up_proj_bias"][:, 1::2]
    for e, both in enumerate(fused["gate_up_proj"]):
        plain[f"{e}.w_0"], plain[f"{e}.w_1"], plain[f"{e}.wo"] = both.T[0::2], both.T[1::2], fused["down_proj"][e].T
    write(sys.argv[2], plain)
    numpy.save(sys.argv[3], numpy.random.default_rng(7).standard_normal((19, fused["norm"].shape[0]), "f4"))


main()
