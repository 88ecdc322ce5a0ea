"""gpu_gates.py REPORT..: what tools/gpu-report --json predicts, beside what is wanted and what it was before: it may not be less.

What falls short says by how much (docs/gpu.md has the same figures).
"""
import json
import sys

# entry's model, tokens, figure, wanted, and what it was when the line was written, less a hundredth for other versions of LLVM and ptxas
GATES = [
    ("moe_layer", 14336, 8192, "peak_share", 0.70, 0.72),
    ("moe_layer", 14336, 8, "copy_share", 0.80, 0.83),
    ("moe_layer", 14336, 64, "copy_share", 0.80, 0.83),
    ("moe_layer", 1408, 8, "copy_share", 0.80, 0.795),
    ("moe_layer", 1408, 64, "copy_share", 0.80, 0.80),
    ("hypermoe_layer", 3072, 1, "beside", 0.97, 0.96),
    ("hypermoe_layer", 3072, 8, "beside", 0.97, 0.97),
    ("hypermoe_layer", 3072, 64, "beside", 0.97, 0.97),
    ("hypermoe_layer", 3072, 512, "beside", 0.97, 0.97),
    ("hypermoe_layer", 3072, 8192, "beside", 0.97, 0.97),
    ("hypermoe_layer", 14336, 1, "beside", 0.97, 0.967),
    ("hypermoe_layer", 14336, 8, "beside", 0.97, 0.97),
    ("hypermoe_layer", 14336, 64, "beside", 0.97, 0.97),
    ("hypermoe_layer", 14336, 512, "beside", 0.97, 0.97),
    ("hypermoe_layer", 14336, 8192, "beside", 0.97, 0.97),
]


def main():
    reports = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            reports += json.load(file)
    runs = {(report["model"], report["defines"].get("d_ff"), run["tokens"]): run for report in reports for run in report["entries"]["run"]}
    failed = False
    for model, d_ff, tokens, figure, wanted, floor in GATES:
        found = runs[model, str(d_ff), tokens][figure]
        verdict = "reached" if found >= wanted else f"short by {wanted - found:.3f}"
        if found < floor:
            verdict, failed = f"expected {floor} at least", True
        print(f"{model} {d_ff} {tokens} tokens: {figure} {found:.3f}, wanted {wanted}: {verdict}")
    return failed


sys.exit(main())
