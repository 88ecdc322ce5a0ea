"""The numbers that reports are made from. docs/performance.json has those of docs/performance.md, part by part: a run of some parts
replaces these and leaves the others, so every part has its own "run": date, commit, machine, versions, threads, ceilings.

  {"finished": [part, ...], "parts": {part: {"run": {...}, name: [record, ...], ...}}}

results.py ALL.json NEW.json    puts the finished parts of a run into the numbers that are kept"""

import json
import sys
from pathlib import Path

PARTS = ("layers", "sweeps", "models")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, numbers):
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def merge(kept, new):
    parts = {**kept["parts"], **{part: new["parts"][part] for part in new["finished"]}}
    ordered = {part: parts[part] for part in PARTS if part in parts}
    return {"finished": list(ordered), "parts": ordered}


def flat(numbers):
    """For reports: all lists of records by name, and {part: its run} as "runs"."""
    found = {"runs": {}}
    for part in PARTS:
        if part in numbers["parts"]:
            values = dict(numbers["parts"][part])
            found["runs"][part] = values.pop("run")
            found |= values
    return found


def main():
    path, new = Path(sys.argv[1]), read(Path(sys.argv[2]))
    write(path, merge(read(path) if path.exists() else {"parts": {}}, new))


if __name__ == "__main__":
    main()
