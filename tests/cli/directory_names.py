"""directory_names.py HMOEC GOLDEN FOLDER: what a model is called that comes from a directory of some name.

Imports GOLDEN under each name in FOLDER and compares; writes FOLDER/types.c, in which every name is a type beside what programs include."""
import os
import subprocess
import sys

hmoec, golden, folder = sys.argv[1:]

SPEC_WORDS = "model output input in and not scope true".split()
C_WORDS = "int default double typename co_await char8_t xor_eq".split()
C_NAMES = "NULL errno linux main printf index time y0 size_t FILE sem".split()
HEADERS = "string stdint memory".split()
OURS = "hmoe hmoec hmoe_model hmoec_check HMOE_RUNTIME".split()
EXPECTED = {name: "model_" + name for name in SPEC_WORDS + C_WORDS + C_NAMES + HEADERS + OURS}
EXPECTED |= {
    "options": "options", "path": "path", "weights": "weights", "args": "args", "state": "state", "tokens": "tokens", "x": "x",
    "logits": "logits", "2b": "model_2b", "моя модель": "model_of_directory", "моя model-2": "model_2", "a.b": "a_b", "c  d": "c_d",
    "e--f": "e_f", "__g": "g", "_H_": "H", 'a"b': "a_b", "new\nline": "new_line", "---": "model_of_directory", "-D": "D",
    "n" * 200: "n" * 94, "\xff": "model_of_directory", "models--owner--switch-base-8/snapshots/0123abc": "switch_base_8",
    "..data/v1.0": "v1_0", "snapshots/3b": "model_3b",
}



def name_of(path, directory=folder):
    run = subprocess.run([hmoec, "import", path], capture_output=True, cwd=directory)
    if run.returncode:
        return run.stderr.decode(errors="replace")
    return run.stdout.decode().splitlines()[1].removeprefix("model ")


def make(name):
    path = os.path.join(os.fsencode(folder), name.encode("latin-1") if name == "\xff" else name.encode())
    os.makedirs(path, exist_ok=True)
    for file in ("config.json", "model.safetensors"):
        os.symlink(f"{golden}/{file}", os.path.join(path, file.encode()))
    return path


def check(what, found, expected):
    global wrong
    if found != expected:
        wrong += 1
        print(f"{what!r}: expected {expected}, found {found}")


wrong = 0
paths = {name: make(name) for name in EXPECTED}
for name, expected in EXPECTED.items():
    check(name, name_of(paths[name]), expected)
os.symlink("2b", f"{folder}/link.to-it")
for given, inside, expected in [
    ("2b/", ".", "model_2b"), ("2b//", ".", "model_2b"), ("2b/.", ".", "model_2b"), (".", "2b", "model_2b"), ("..", "2b/sub", "model_2b"),
    ("link.to-it", ".", "link_to_it"), ("link.to-it/", ".", "link_to_it"), ("./a.b", ".", "a_b"), ("-D", ".", None), ("./-D", ".", "D"),
]:
    os.makedirs(f"{folder}/{inside}", exist_ok=True)
    found = name_of(given, f"{folder}/{inside}")
    check(f"{given} in {inside}", None if expected is None and "error: hmoec import has no option '-D'" in found else found, expected)

with open(f"{folder}/types.c", "w") as out:
    for header in "assert ctype dirent errno fcntl inttypes limits locale math pthread regex search semaphore setjmp signal stdio stdlib string strings sys/mman sys/socket sys/stat sys/types sys/wait time unistd wchar".split():
        out.write(f"#include <{header}.h>\n")
    out.write("#include <hmoe/generate.h>\n")
    for name in sorted(set(EXPECTED.values())):
        out.write(f"typedef struct {name} {name};\n")
    out.write("int main(void) { return 0; }\n")
print(f"{len(paths)} directories, {wrong} wrong")
