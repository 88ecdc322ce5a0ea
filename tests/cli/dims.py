"""Prints a golden case's dims.json as options:  dims.py FILE  ->  -D d_model=64 -D experts=8 ..."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    print(" ".join(f"-D {name}={value}" for name, value in json.load(file).items()))
