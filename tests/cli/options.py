"""options.py HMOEC FOLDER: command lines that are refused, with their status and what the one error says."""
import shlex
import struct
import subprocess
import sys

hmoec, folder = sys.argv[1:]

SPEC = 'model p\ndim tokens = ?\noption act = relu in {relu, gelu}\ninput x: f32[tokens, 3]\ninput s: f32[tokens, 3]\n' \
       'param w: [3, 3] from "w"\noutput y = add(linear(x, w), s)\n'
RUN = "run p.spec --weights w.safetensors --input x=x.npy --input s=x.npy --output y=y.npy"
CPUS = "expected --mcpu native or a CPU that LLVM knows, found 'skylakex'; did you mean skylake?"


def npy(name, data, descr="<f4", order=False, shape=(2, 3), version=1):
    header = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    open(f"{folder}/{name}", "wb").write(b"\x93NUMPY" + bytes([version, 0]) + length + header + data)


open(f"{folder}/p.spec", "w").write(SPEC)
open(f"{folder}/-p.spec", "w").write(SPEC)
open(f"{folder}/sum.spec", "w").write('model sum\ndim tokens = ?\ninput x: f32[tokens, 3]\noutput y = add(x, x)\n')
for name, option in {"twice": "act = relu in {relu, relu}", "numbers": "n = 1 in {1, 2, 1.0}"}.items():
    open(f"{folder}/{name}.spec", "w").write(SPEC.replace("act = relu in {relu, gelu}", option))
for name in ("empty", "of: two"):
    open(f"{folder}/{name}.safetensors", "wb").write(struct.pack("<Q", 2) + b"{}")
npy("x.npy", bytes(24))
npy("x2.npy", bytes(24), version=2)
npy("x3.npy", bytes(48), "<f8", version=3)
npy("fortran.npy", bytes(24), order=True)
npy("big.npy", bytes(24), ">f4")
npy("half.npy", bytes(12), "<f2")
npy("flags.npy", bytes(6), "|b1")
npy("objects.npy", bytes(48), "|O")
npy("structured.npy", bytes(24), [("a", "<f4")])
npy("long.npy", bytes(24), "<i4")
npy("wide.npy", bytes(32), shape=(2, 4))
npy("flat.npy", bytes(24), shape=(6,))
npy("other.npy", bytes(36), shape=(3, 3))
npy("cut.npy", bytes(20))
open(f"{folder}/archive.npy", "wb").write(b"PK\3\4" + bytes(22) + b"\5\0\0\0x.npy")


def run(arguments, **environment):
    return subprocess.run([hmoec] + arguments, capture_output=True, text=True, cwd=folder, env=environment or None)


assert run(["check", "p.spec", "--tokens", "2", "--save-weights", "w.safetensors"]).returncode == 0

REFUSED = [
    # choices: what there is, and what may have been meant
    ("compile p.spec --mcpu skylakex", 2, CPUS), ("compile p.spec --mcpu skylakex", 2, "note: --mcpu takes native, generic, x86-64, "),
    ("compile p.spec --target gpu", 2, "expected --target cpu or cuda, found 'gpu'; did you mean cpu?\n"),
    ("compile p.spec --target cuda --mcpu sm_70", 2, "expected --mcpu sm_80, sm_90a or all, found 'sm_70'; did you mean sm_80?\n"),
    ("compile p.spec --target CPUs", 2, "expected --target cpu or cuda, found 'CPUs'; did you mean cpu?"),
    ("compile p.spec --dtype F32", 2, "expected --dtype f32 or bf16, found 'F32'; did you mean f32?"),
    ("compile p.spec --dtype bfl16", 2, "found 'bfl16'; did you mean bf16?"),
    ("compile p.spec --emit ob", 2, "expected --emit obj, hmoe, hmk, mlir, llvm, asm, ptx or cubin, found 'ob'; did you mean obj?"),
    ("compile p.spec --strategy tabel", 2, "per_token, found 'tabel'; did you mean table?"),
    ("compile p.spec --print-ir-after fold-hypernet", 2, "note: --print-ir-after takes all, verify, fold-layer-embedding, "),
    ("compile p.spec --print-ir-after fuse-hyperexpert", 2, "found 'fuse-hyperexpert'; did you mean fuse-hyper-expert?"),
    (RUN + " --cpu AVX512", 2, "expected --cpu amx, avx512_bf16, avx512, avx2 or portable, found 'AVX512'; did you mean avx512?"),
    (RUN + " --cpu amx", 2, "p has no amx version: it has no bf16 products, as with dtype f32 no model has"),
    ("check p.spec --cpu avx512_bf16", 2, "p has no avx512_bf16 version: it has no bf16 products, as with dtype f32 no model has"),
    ("check sum.spec --dtype bf16 --cpu amx", 2, "sum has no amx version: it has no bf16 products\n"),
    ("compile twice.spec", 1, "twice.spec:3:29: error: act: the choice 'relu' is given twice"),
    ("compile twice.spec", 1, "twice.spec:3:23: note: first given here"),
    ("compile numbers.spec", 1, "numbers.spec:3:24: error: n: the choice '1' is given twice"),
    # a MODEL that is not there lacks no weights
    *((f"{command} nowhere/model {rest}", 1, "nowhere/model: error: cannot open: No such file or directory") for command, rest in
      (("run", "--input x=x.npy --output y=y.npy"), ("pack", "-o m.hmw"), ("generate", "--input input_ids=x.npy -o y.npy"))),
    ("pack p.spec -o m.hmw", 2, "hmoec pack needs --weights FILE"),
    # weights: the file, and what is wrong with it
    *((f"{command} p.spec --weights '{file}' {rest}", 1, f"{file}: error: {text}") for command, rest in
      (("run", "--input x=x.npy --input s=x.npy --output y=y.npy"), ("pack", "-o m.hmw"), ("check", "")) for file, text in
      (("none.safetensors", "cannot open: No such file or directory"), ("p.spec", "expected a safetensors or .hmw file, found text"), ("empty.safetensors", "no tensor 'w'"),
       (".", "expected model.safetensors or"), ("of: two.safetensors", "no tensor 'w'"))
      if command != "check" or "w" not in text.split("'")),
    ("pack p.spec --weights w.safetensors -o nowhere/m.hmw", 1, "nowhere/m.hmw: error: cannot create: No such file or directory"),
    (RUN + " --entry runs", 2, "there is no entry 'runs'; the model has: run"),
    ("compile p.spec -D atc=gelu", 1, "-D atc=gelu: error: the spec has no dim or option 'atc'; did you mean 'act'?"),
    ("compile p.spec -D act=gelo", 1, "-D act=gelo: error: expected act to be relu, gelu or c:FILE:FUNCTION, found 'gelo'; did you mean 'gelu'?"),
    # once, and by commands that use it
    ("check p.spec --threads 1 --threads 2", 2, "--threads is given twice"), ("check p.spec --tokens 1 --tokens 2", 2, "--tokens is given twice"),
    ("check p.spec --seed 1 --seed 1", 2, "--seed is given twice"), ("explain p.spec --rows 1 --rows 2", 2, "--rows is given twice"),
    ("compile p.spec --table-budget 1 --table-budget 2", 2, "--table-budget is given twice"),
    ("compile p.spec --target cpu --target cpu", 2, "--target is given twice"), ("compile p.spec -o a -o b", 2, "-o is given twice"),
    ("generate p.spec --sample --sample", 2, "--sample is given twice"), ("generate p.spec --beams 2 --beams 3", 2, "--beams is given twice"),
    ("compile p.spec --weights w", 2, "hmoec compile has no option '--weights'; see hmoec compile --help"),
    ("explain p.spec --cpu avx2", 2, "hmoec explain has no option '--cpu'; see hmoec explain --help"),
    ("compile p.spec --weihgts w", 2, "hmoec compile has no option '--weihgts'; see hmoec compile --help"),
    ("check p.spec --weihgts w", 2, "has no option '--weihgts'; did you mean --weights? See hmoec check --help"),
    # numbers
    ("check p.spec --tokens 1,,8", 2, "expected --tokens to be a list such as 1,64,512, found '1,,8'"),
    ("bench p.spec --tokens 1,", 2, "expected --tokens to be a list such as 1,64,512, found '1,'"),
    ("check p.spec --tokens 1,8", 2, "expected one number for --tokens of hmoec check, found 2"),
    ("explain p.spec --tokens 1,2,3", 2, "expected one number for --tokens of hmoec explain, found 3"),
    ("bench p.spec --tokens 8,0", 2, "expected --tokens of hmoec bench to be at least 1, found 0"),
    ("check p.spec --tokens -1", 2, "expected --tokens to be an integer of at least 0, found '-1'"),
    ("check p.spec --tokens 99999999999", 2, "expected --tokens to be at most 2^26, found 99999999999"),
    ("check p.spec --tokens +3", 2, "expected --tokens to be an integer of at least 0, found '+3'"),
    ("check p.spec --threads 0", 2, "expected --threads to be an integer of at least 1, found '0'"),
    ("check p.spec --threads 100000", 2, "expected --threads to be at most 4096, found 100000"),
    ("check p.spec --threads 2x", 2, "found '2x'"),
    # values
    ("compile p.spec --mcpu", 2, "expected --mcpu CPU, found the end of the line"), ("compile p.spec -o -", 2, "expected -o DIR: an object, its header"),
    ("compile p.spec --c-define 3=4", 2, "expected --c-define NAME[=VALUE], found '3=4'"),
    ("compile p.spec --c-include nowhere", 2, "expected --c-include to be a directory, found 'nowhere'"),
    ("run p.spec --input x", 2, "expected --input NAME=FILE.npy, found 'x'"), ("run p.spec --output =y", 2, "expected --output NAME=FILE.npy, found '=y'"),
    ("compile -- -q.spec", 1, "-q.spec: error: cannot open: No such file or directory"),
    (RUN + " --input z=x.npy", 2, "the model has no input 'z'; it has 'x' and 's'"),
    (RUN.replace("s=", "ss="), 2, "the model has no input 'ss'; it has 'x' and 's'; did you mean 's'?"),
    (RUN.replace("y=y", "z=y"), 2, "the model has no output 'z'; it has 'y'"),
    (RUN.replace("--input s=x.npy ", ""), 2, "expected --input s=FILE.npy"),
    # arrays
    *((RUN.replace("x=x.npy", f"x={file}.npy"), 1, text) for file, text in {
        "fortran": "fortran.npy: error: expected a C-ordered array, found Fortran order: write numpy.ascontiguousarray(array)",
        "big": "found >f4: big-endian floating point; write array.astype('<f4')", "half": "found <f2: floating point; write array.astype('<f4')",
        "flags": "found |b1: booleans; write array.astype('<i8')", "objects": "found |O: Python objects",
        "structured": "expected an array of numbers, found a structured one", "long": "input x: expected float32, found an integer type",
        "wide": "wide.npy: error: input x: expected f32[?, 3], found f32[2, 4]", "flat": "input x: expected f32[?, 3], found f32[6]",
        "other": "expected tokens to be 3 as in input x, found 2", "cut": "cut.npy: error: expected 24 bytes of data, found 20",
        "archive": "archive.npy: error: expected a .npy file, found a .npz archive of arrays: write the one array with numpy.save",
        ".": "expected a .npy file, found a directory", "none": "none.npy: error: cannot open: No such file or directory"}.items()),
]
REFUSED = [(a.replace("x=..npy", "x=."), s, t) for a, s, t in REFUSED]

wrong = 0
for arguments, status, text in REFUSED:
    found = run(shlex.split(arguments))
    if found.returncode != status or text not in found.stderr or found.stderr.count("error: ") != 1:
        wrong += 1
        print(f"{arguments}: expected status {status} and\n  {text}\nfound status {found.returncode} and\n  {found.stderr}")
empty = run(["compile", ""])
if empty.returncode != 2 or "expected a MODEL, found an empty text" not in empty.stderr:
    wrong += 1
    print(f"an empty MODEL: {empty.returncode} {empty.stderr}")
for arguments in (RUN.replace("x=x.npy", "x=x2.npy"), RUN.replace("s=x.npy", "s=x3.npy"), "compile --emit hmoe -- -p.spec",
                  "compile p.spec -D act=gelu -D act=relu --emit hmoe"):
    found = run(arguments.split())
    if found.returncode:
        wrong += 1
        print(f"{arguments}: {found.stderr}")
for variable, value, arguments, status, text in [
    ("HMOE_CPU", "sse9", RUN, 2, "error: expected HMOE_CPU amx, avx512_bf16, avx512, avx2 or portable, found 'sse9'"),
    ("HMOE_CPU", "AVX2", "check p.spec", 2, "found 'AVX2'; did you mean avx2?"), ("HMOE_CPU", "sse9", RUN + " --cpu portable", 0, ""),
    ("HMOE_CPU", "amx", RUN, 2, "p has no amx version: it has no bf16 products"),
    ("HMOE_NUM_THREADS", "many", RUN, 2, 'HMOE_NUM_THREADS: expected a number from 1 to 4096, found "many"'),
    ("HMOE_NUM_THREADS", "0", "check p.spec", 2, 'HMOE_NUM_THREADS: expected a number from 1 to 4096, found "0"'),
    ("HMOE_NUM_THREADS", "0", RUN + " --threads 1", 0, ""),
    ("HMOE_DEBUG", "rum", RUN, 0, 'HMOE_DEBUG: expected run, found "rum"'),
    ("TMPDIR", "/nowhere", "check p.spec --tokens 2", 3, "cannot make a temporary file in /nowhere: No such file or directory"),
]:
    found = run(arguments.split(), **{variable: value})
    if found.returncode != status or text not in found.stderr:
        wrong += 1
        print(f"{variable}={value}: expected status {status} and {text}, found {found.returncode} and {found.stderr}")
print(f"{len(REFUSED)} refused, {wrong} wrong")
