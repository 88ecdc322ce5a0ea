"""guarded_memory.py GUARD PROGRAM...: the programs in guarded memory (tests/tools/guarded_memory.c), in the current folder: they lose nothing and leave
nothing open, whether they do what they are asked, refuse it, or get no memory for it."""
import os
import subprocess
import sys

guard, hmoec, opt, reader = sys.argv[1:]
LINE = '  %{0} = "hmoe.activate"(%{1}) {{function = "relu"}} : (tensor<?x4xf32>) -> tensor<?x4xf32>\n'
HEAD = 'func.func @f(%a0: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {\n'
FAILED = -6  # aborted, as arenas do


def module(ops):
    return HEAD + "".join(LINE.format(f"a{i + 1}", f"a{i}") for i in range(ops)) + f"  return %a{ops} : tensor<?x4xf32>\n}}\n"


def padded(text, size):
    return text + "/" * (size - len(text) - 1) + "\n"


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def run(program, arguments, stdin="", **environment):
    return subprocess.run([program, *arguments], input=stdin, text=True, capture_output=True,
                          env={**os.environ, "LD_PRELOAD": guard, **{key: str(value) for key, value in environment.items()}}, check=False)


def check(row, result, status, said, printed=None):
    if (result.returncode != status or said not in result.stderr or (not said and result.stderr)
            or (printed is not None and printed not in result.stdout)):
        sys.exit(f"{row}: expected status {status}, '{said}' and '{printed}', found {result.returncode}:\n{result.stdout[-500:]}{result.stderr[-2000:]}")


small = module(1)
for name, text in {"small.mlir": small, "large.mlir": module(3000), "wrong.mlir": small.replace("relu", "rleu"), "broken.mlir": small + "}",
                   "a.spec": "model a\ndim n = ?\ninput x: f32[n, 4]\noutput y = activate(x, function = relu)\n",
                   "broken.spec": "model a\ndim n = ?\ninput x: f32[n, 4]\noutput y = activte(x, function = relu)\n",
                   "c.c": "float f(float x) { return x + y; }\n",
                   "c.spec": 'model c\ndim n = ?\ninput x: f32[n, 4]\noutput y = activate(x, function = "c:c.c:f")\n'}.items():
    write(name, text)
for size in (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 18:
    write(f"{size}.mlir", padded("//", size - len(small) - 1) + "\n" + small)
os.makedirs("folder", exist_ok=True)

RELU = 'function = "relu"'
for arguments, status, said, printed in [
    (["--help"], 0, "", "  --plan-kernels"),
    (["small.mlir", "--verify", "--help"], 0, "", "usage: hmoec-opt"),
    (["small.mlir"], 0, "", RELU),
    (["--verify", "small.mlir"], 0, "", RELU),
    (["--verify", "large.mlir"], 0, "", "%2999"),
    *([["--verify", f"{size}.mlir"], 0, "", RELU] for size in ((1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 18)),
    (32 * ["--verify"] + ["small.mlir"], 0, "", RELU),
    (33 * ["--verify"] + ["small.mlir"], 2, "more than 32 passes", ""),
    ([], 2, "expected a file", ""),
    (["--verify"], 2, "expected a file", ""),
    (["small.mlir", "large.mlir"], 2, "expected one file, found small.mlir and large.mlir", ""),
    (["--dtype=bf16", "--strategy=auto", "--tokens=5", "--table-budget=100", "small.mlir"], 0, "", RELU),
    (["--dtype=f32", "small.mlir"], 0, "", RELU),
    (["--dtype=f16", "small.mlir"], 2, "expected --dtype f32 or bf16, found 'f16'", ""),
    (["--dtypes=f32", "small.mlir"], 2, "there is no pass named dtypes=f32", ""),
    (["--dtype", "small.mlir"], 2, "there is no pass named dtype\n", ""),
    (["--verifies", "small.mlir"], 2, "there is no pass named verifies\n", ""),
    (["none.mlir"], 2, "cannot read none.mlir", ""),
    (["folder"], 2, "cannot read folder", ""),
    (["--verify", "wrong.mlir"], 1, "wrong.mlir:2:9: error: ", ""),
    (["broken.mlir"], 1, "broken.mlir:5:", ""),
]:
    if os.path.basename(opt) in ("hmoec-opt",):
        result = run(opt, arguments, HMOE_GUARDED_MOST=500000)
        check(["hmoec-opt", *arguments], result, status, said, printed)
        if status and result.stdout: sys.exit(f"{arguments}: printed {result.stdout}")
check("hmoec-opt -", run(opt, ["--verify", "-"], small), 0, "", RELU)
check("hmoec-opt -, large", run(opt, ["-"], module(3000)), 0, "", "%2999")
check("hmoec-opt -, closed", subprocess.run(f"{opt} - <&-", shell=True, text=True, capture_output=True, check=False), 2, "cannot read -", "")

for arguments, status, said, printed in [
    (["--help"], 0, "", "usage: hmoec COMMAND"),
    (["-h"], 0, "", "usage: hmoec COMMAND"),
    (["help"], 0, "", "usage: hmoec COMMAND"),
    (["--version"], 0, "", "hmoec "),
    (["run", "--help"], 0, "", "--output NAME=FILE.npy"),
    ([], 2, "expected a command", ""),
    (["complie"], 2, "there is no command 'complie'; did you mean compile?", ""),
    (["tune"], 2, "hmoec tune needs -o FILE", ""),
    (["compile"], 2, "expected a MODEL; usage: hmoec compile", ""),
    (["compile", "broken.spec"], 1, "broken.spec:4:12: error: ", ""),
    (["compile", "broken.mlir"], 1, "broken.mlir:5:", ""),
    (["compile", "none.spec"], 1, "none.spec", ""),
    (["compile", "folder"], 1, "folder", ""),
    (["compile", "c.spec", "--emit", "hmk"], 1, "c.c:1:31: error: ", ""),
    (["compile", "a.spec", "--emit", "hmk"], 0, "", RELU),
    (["compile", "a.spec", "--emit", "hmk", "-o", "c.c"], 1, "cannot make this directory: Not a directory", ""),
    (["compile", "a.spec", "--emit", "nothing"], 2, "expected --emit obj", ""),
    (["compile", "a.spec", "--emit", "hmk", "--print-ir-after", "all"], 0, None, ""),
    (["compile", "a.spec", "--emit", "hmk", "--dump-ir", "dumped", "-o", "out"], 0, "", ""),
    (["compile", "a.spec", "--emit", "hmk", "--dump-ir", "c.c"], 1, "Not a directory", ""),
    (["explain", "a.spec", "--tokens", "3"], 0, "", "activate"),
    (["explain", "a.spec", "--tokens", "3,4"], 2, "expected one number for --tokens", ""),
    (["run", "a.spec"], 2, "hmoec run needs --weights FILE", ""),
    (["run", "none.spec"], 1, "none.spec", ""),
    (["pack", "a.spec", "--weights", "a.spec"], 2, "hmoec pack needs -o MODEL.hmw", ""),
    (["generate", "a.spec", "--weights", "a.spec"], 2, "hmoec generate needs -o FILE.npy", ""),
    (["import", "folder"], 1, "folder", ""),
    (["bench", "broken.spec"], 1, "broken.spec:4:12: error: ", ""),
    (["bench", "a.spec", "--tokens", "0"], 2, "to be at least 1, found 0", ""),
]:
    result = run(hmoec, arguments)
    check(["hmoec", *arguments], result, status, result.stderr if said is None else said, printed)

check("hmoec-c-reader", run(reader, []), 2, "reads functions written in C for hmoec, which starts it")

# Without memory: refused, or ended as arenas end, or done all the same.
for program, arguments, least in [(opt, ["--verify", "small.mlir"], 6), (opt, ["--verify", "wrong.mlir"], 8),
                                  (opt, ["--fold-duplicates", "small.mlir"], 8), (opt, ["folder"], 2),
                                  (opt, [f"{1 << 18}.mlir"], 8), (hmoec, ["--version"], 1), (hmoec, ["compile", "broken.spec"], 10)]:
    usual, times, asked, passes = run(program, arguments), 0, False, 0
    while not asked:
        times += 1
        result = run(program, arguments, HMOE_GUARDED_FAILS=times)
        asked = "guarded_memory: it asked" in result.stderr
        row = f"{os.path.basename(program)} {' '.join(arguments)}, without memory the {times}th time"
        if result.returncode not in (FAILED, 1, 2, 3, usual.returncode) or (result.returncode == 0 and result.stdout != usual.stdout):
            sys.exit(f"{row}: status {result.returncode}\n{result.stderr}")
        if times == 1 and result.returncode != 3: sys.exit(f"{row}: expected status 3, found {result.returncode}")
        passes += "out of memory in pass fold-duplicates" in result.stderr
    if (passes > 0) != ("--fold-duplicates" in arguments): sys.exit(f"{row}: {passes} times in a pass")
    print(os.path.basename(program), *arguments, "asked", times - 1, "times")
    if times <= least: sys.exit(f"{row}: it asked {times - 1} times only")
print("nothing is lost")
