"""Compares two Hugging Face directories:  compare_checkpoints.py keys|values GOT WANTED [--some]

keys: config.json has the same dims, and tensors the same names and shapes. values: tensors have the same bytes; with --some WANTED may have
more tensors. `transformer.h.*.attn.c_attn.bias` may be missing in WANTED: golden files lack them."""
import json
import re
import sys
from pathlib import Path

LEFT_OUT = re.compile(r"attn\.c_attn\.bias$")
NOT_COMPARED = {"architectures", "torch_dtype"}


def tensors(folder):
    """{key: (dtype, shape, bytes)}"""
    index, found = folder / "model.safetensors.index.json", {}
    names = ["model.safetensors"]
    if index.exists():
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
    for name in names:
        data = (folder / name).read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        for key, entry in json.loads(data[8:begin]).items():
            if key != "__metadata__":
                if index.exists() and weight_map[key] != name:
                    sys.exit(f"{folder}: the index has '{key}' in {weight_map[key]}, and it is in {name}")
                first, last = entry["data_offsets"]
                found[key] = entry["dtype"], entry["shape"], data[begin + first : begin + last]
    return found


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("keys", "values"):
        sys.exit(__doc__)
    folders = [Path(word) for word in sys.argv[2:4]]
    got, wanted = map(tensors, folders)
    values = sys.argv[1] == "values"
    for key in sorted(set(got) | set(wanted)):
        if key not in got:
            if "--some" not in sys.argv:
                sys.exit(f"{folders[0]}: no tensor '{key}'")
        elif key not in wanted:
            if not LEFT_OUT.search(key):
                sys.exit(f"{folders[0]}: '{key}' is not in {folders[1]}")
        elif got[key][:2] != wanted[key][:2]:
            sys.exit(f"{folders[0]}: '{key}' is {got[key][:2]}, expected {wanted[key][:2]}")
        elif values and got[key][2] != wanted[key][2]:
            sys.exit(f"{folders[0]}: '{key}' has other values than in {folders[1]}")
    if not values:
        configs = [json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in folders]
        for name in sorted(set(configs[0]) | set(configs[1])):
            if name not in NOT_COMPARED and configs[0].get(name) != configs[1].get(name):
                sys.exit(f"{folders[0]}: config.json has {name} {configs[0].get(name)}, expected {configs[1].get(name)}")


main()
