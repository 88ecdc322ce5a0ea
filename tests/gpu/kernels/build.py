"""build.py OUT_DIR TOOLS_DIR: the kernels that tests run in the emulator, as PTX that LLVM makes of MLIR.

Writes sm_90a.ptx and sm_80.ptx, each with all its kernels, and kernels.txt, a line a kernel:

    FILE NAME KIND K N BLOCK STAGES GATHER SHARED_BYTES BUG

KIND: planes, rows (hopper.py), tiled, stream (ampere.py); BLOCK: columns of a block of W; BUG: - or what was broken on purpose."""

import subprocess
import sys
from pathlib import Path

import ampere
import hopper

HEAD = """module attributes {llvm.data_layout = "e-p6:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64"} {
  llvm.mlir.global external @smem() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
"""
PASSES = ("convert-scf-to-cf", "convert-nvvm-to-llvm", "convert-cf-to-llvm", "convert-arith-to-llvm", "convert-to-llvm", "reconcile-unrealized-casts")

#           kind, K, N, columns of a block, stages, gather, bug
HOPPER = [("planes", 256, 256, 128, 4, 0, None), ("planes", 192, 256, 256, 3, 0, None), ("planes", 320, 384, 192, 3, 0, None),
          ("planes", 320, 256, 256, 3, 1, None), ("rows", 256, 256, 128, 4, 0, None), ("rows", 320, 128, 64, 2, 0, None), ("rows", 320, 256, 256, 3, 1, None)]
HOPPER += [("rows" if bug == "n_rows_past" else "planes", 320, 256, 128, 3, int(bug == "no_consumer_fence"), bug) for bug in hopper.BUGS]
AMPERE = [("tiled", 256, 256, 128, 3, 0, None), ("tiled", 64, 128, 128, 3, 0, None), ("tiled", 320, 256, 128, 4, 0, None),
          ("stream", 768, 256, 128, 0, 0, None), ("stream", 320, 256, 128, 0, 0, None)]
AMPERE += [("tiled", 320, 256, 128, 3, 0, bug) for bug in ampere.TILED_BUGS]
AMPERE += [("stream", 320, 256, 128, 0, 0, bug) for bug in ampere.STREAM_BUGS]


def function(name, kind, k, n, block, stages, gather, bug):
    if kind == "tiled":
        return ampere.tiled(name, k, n, stages, bug)
    if kind == "stream":
        return ampere.stream(name, k, n, bug=bug)
    return hopper.generate(name, k, n, block, stages, kind, bug, bool(gather))


def build(out, tools, chip, features, kernels):
    """The chip's PTX; the lines of kernels.txt."""
    texts, lines = [], []
    for i, kernel in enumerate(kernels):
        text, shared = function(f"kernel{i}", *kernel)
        texts.append(text)
        lines.append(" ".join([f"{chip}.ptx", f"kernel{i}"] + [str(x) for x in kernel[:-1]] + [str(shared), kernel[-1] or "-"]))
    module = HEAD + "\n".join(texts) + "\n}\n"

    def run(tool, *arguments, text):
        made = subprocess.run([str(tools / tool), *arguments], input=text, capture_output=True, text=True, check=False)
        if made.returncode:
            raise SystemExit(f"build.py: {chip}: {tool} fails\n{made.stderr}")
        return made.stdout

    module = run("mlir-opt", *["--" + p for p in PASSES], text=module)
    module = run("mlir-translate", "--mlir-to-llvmir", text=module)
    module = run("opt", "-O2", "-mtriple=nvptx64-nvidia-cuda", "-mcpu=" + chip, "-S", text=module)
    module = run("llc", "-O3", "-march=nvptx64", "-mcpu=" + chip, "-mattr=+" + features, text=module)
    (out / f"{chip}.ptx").write_text(module)
    return lines


def main():
    out, tools = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    lines = build(out, tools, "sm_90a", "ptx86", HOPPER) + build(out, tools, "sm_80", "ptx80", AMPERE)
    (out / "kernels.txt").write_text("\n".join(lines) + "\n")


main()
