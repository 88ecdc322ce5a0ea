"""Whole plans, line by line.

Each plans/NAME.plan opens with the arguments of `hmoec compile` that make it, behind "# ": the rest is what `--emit hmk` gives, an op a line, without the
marks and types that say nothing. Whatever changes a plan changes a line here. A change that is meant is taken over by

    tests/ir/whole_plans.py BUILD/bin/hmoec --update

and read in the difference of the commit, which explains it. A new case is a new file of one line.

    tests/ir/whole_plans.py HMOEC [--update] [NAME...]"""
import difflib
import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "..", "models")


def short(text):
    """The module an op a line: operands and attributes alone, without quotes and types, and without attributes that say that something is not there."""
    text = re.sub(r" : (?:\([^()]*\) -> )?(?:\(\)|!hmk\.memory)$", "", text, flags=re.M)
    text = re.sub(r"array<i64: ?([^>]*)>|array<i64>", r"[\1]", text)
    text = re.sub(r" : (?:i64|f64)\b", "", text)
    text = text.replace('"hmk.', "").replace('"(', "(")
    text = re.sub(r'\b(?:(?:dim|slot|rows) = -1|flags = \[\]|norm = "none"|norm_\w+ = 0\.0+e\+00|(?!(?:dim|rows|slot|advance) )\b\w+ = 0(?=[,}]))(?:, )?', "", text)
    text = text.replace(", }", "}").replace('"', "")
    return re.sub(r"^ +", "  ", re.sub(r"^    ", "  ", text, flags=re.M), flags=re.M)


def plan(hmoec, arguments):
    words = [os.path.join(MODELS, w[len("models/"):]) if w.startswith("models/") else w for w in arguments.split()]
    result = subprocess.run([hmoec, "compile", *words, "--emit", "hmk", "-o", "-"], capture_output=True, text=True, cwd=os.path.join(HERE, "plans"))
    if result.returncode: sys.exit(f"hmoec compile {arguments}: {result.stderr}")
    return short(result.stdout)


def main():
    hmoec, *rest = sys.argv[1:]
    update, names = "--update" in rest, [r for r in rest if r != "--update"]
    files = sorted(glob.glob(os.path.join(HERE, "plans", "*.plan")))
    compared, different = 0, 0
    for file in files:
        if names and os.path.basename(file)[:-len(".plan")] not in names: continue
        with open(file, encoding="utf-8") as f: text = f.read()
        head = text.split("\n", 1)[0]
        now = f"{head}\n{plan(os.path.abspath(hmoec), head[2:])}"
        compared += 1
        if now == text: continue
        different += 1
        if update:
            with open(file, "w", encoding="utf-8") as f: f.write(now)
        sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), now.splitlines(True), file, "now", n=0))
    print(f"{compared} plans, {different} {'updated' if update else 'differ'}")
    return 0 if compared and (update or not different) else 1


if __name__ == "__main__":
    sys.exit(main())
