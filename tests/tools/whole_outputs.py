#!/usr/bin/env python3
"""Whole outputs, line by line.

Each FOLDER/NAME.txt opens with the command that makes it, behind "# ": the rest is what it gives. Whatever changes the output changes a line there. A change
that is meant is taken over by --update and read in the difference of the commit, which explains it. A new case is a new file of one line.

    whole_outputs.py BUILD/bin/hmoec FOLDER [--update] [NAME...]

Specs are named as FOLDER sees them; models/ stands for the project's. A command that ends in "=> FILE..." writes files of these names: they are what is compared.
IR is written an op a line, without the marks and types that say nothing; hashes and versions are left out, and what explain predicts of times, which any
number of a machine changes."""
import difflib
import glob
import os
import re
import subprocess
import sys
import tempfile

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models")


def short(text):
    """A planned module: operands and attributes alone, without quotes and types, and without attributes that say that something is not there."""
    text = re.sub(r" : (?:\([^()]*\) -> )?(?:\(\)|!hmk\.memory)$", "", text, flags=re.M)
    text = re.sub(r"array<i64: ?([^>]*)>|array<i64>", r"[\1]", text)
    text = re.sub(r" : (?:i64|f64)\b", "", text)
    text = text.replace('"hmk.', "").replace('"(', "(")
    text = re.sub(r'\b(?:(?:dim|slot|rows) = -1|flags = \[\]|norm = "none"|norm_\w+ = 0\.0+e\+00|(?!(?:dim|rows|slot) )\b\w+ = 0(?=[,}]))(?:, )?', "", text)
    text = text.replace(", }", "}").replace('"', "")
    return re.sub(r"^ +", "  ", text, flags=re.M)


def output(hmoec, command, folder):
    command, _, files = command.partition(" => ")
    words = [os.path.join(MODELS, w[len("models/"):]) if w.startswith("models/") else os.path.join(folder, w) if w.endswith(".spec") else w
             for w in command.split()]
    with tempfile.TemporaryDirectory() as here:  # where a pass that fails leaves its module
        result = subprocess.run([hmoec, *words[1:]], capture_output=True, text=True, cwd=here)
        if result.returncode: sys.exit(f"{command}: {result.stderr}")
        text = result.stdout
        for file in files.split():
            with open(os.path.join(here, file), encoding="utf-8") as f: text += f.read()
    text = re.sub(r'("layout":\s*"|0x)[0-9a-f]{16}\b', r"\1...", text)
    text = re.sub(r"(compiled by hmoec )[0-9.]+[0-9]", r"\1...", text)
    text = re.sub(r'("hmoec":\s*)"[^"]*"', r'\1"..."', text)
    text = re.sub(r"\nPredicted, not measured: .*", "", text, flags=re.S)
    return short(text) if "--emit hmk" in command else text


def main():
    hmoec, folder, *rest = [a for a in sys.argv[1:] if a != "--update"]
    folder = os.path.abspath(folder)
    update, compared, different = "--update" in sys.argv, 0, 0
    for file in sorted(glob.glob(os.path.join(folder, "*.txt"))):
        if rest and os.path.basename(file)[:-len(".txt")] not in rest: continue
        with open(file, encoding="utf-8") as f: text = f.read()
        head = text.split("\n", 1)[0]
        now = f"{head}\n{output(os.path.abspath(hmoec), head[2:], folder)}"
        compared += 1
        if now == text: continue
        different += 1
        if update:
            with open(file, "w", encoding="utf-8") as f: f.write(now)
        sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), now.splitlines(True), file, "now", n=0))
    print(f"{compared} outputs, {different} {'updated' if update else 'differ'}")
    return 0 if compared and (update or not different) else 1


if __name__ == "__main__":
    sys.exit(main())
