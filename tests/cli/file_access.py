"""file_access.py HMOEC GOLDEN FOLDER: files that cannot be opened, are links to nothing or to themselves, or are of the wrong kind.

Run by root, the commands run as nobody: root may read everything."""
import json
import os
import shutil
import struct
import subprocess
import sys

hmoec, golden, folder = sys.argv[1:]
os.chdir(folder)
program = os.open(hmoec, os.O_RDONLY)


def become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def run(*arguments):
    return subprocess.run(["hmoec", *arguments], executable=f"/proc/self/fd/{program}", pass_fds=[program], preexec_fn=become_nobody,
                          capture_output=True, text=True, timeout=60)


def write(path, data, mode=0o644):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    open(path, "wb").write(data)
    os.chmod(path, mode)


def npy():
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(24)


os.chmod(".", 0o777)
write("p.spec", b'model p\ndim tokens = ?\ninput x: f32[tokens, 3]\nparam w: [3, 3] from "w"\noutput y = linear(x, w)\n')
header = json.dumps({"w": {"dtype": "F32", "shape": [3, 3], "data_offsets": [0, 36]}}).encode()
weights = struct.pack("<Q", len(header)) + header + bytes(36)
write("w.safetensors", weights)
write("x.npy", npy())
for name, data in (("closed.spec", b"model p\n"), ("closed.safetensors", weights), ("closed.npy", npy()), ("closed.c", b"")):
    write(name, data, 0)
os.symlink("nowhere.x", "to_nothing.x")
os.symlink("to_itself", "to_itself")
os.makedirs("folder/inner")
os.makedirs("shut", 0o755)
os.mkfifo("pipe")
os.chmod("pipe", 0o666)
models = f"{os.path.dirname(os.path.abspath(__file__))}/../../models"
for name in os.listdir(models):  # which nobody may not be allowed to reach
    write(f"models/{name}", open(f"{models}/{name}", "rb").read())
os.chmod("models", 0o755)
config = open(f"{golden}/config.json", "rb").read()
tensors = open(f"{golden}/model.safetensors", "rb").read()
for name in "closed_config", "closed_tensors", "closed", "config_to_nothing", "tensors_to_nothing", "config_to_itself", "config_folder", "tensors_folder":
    write(f"{name}/config.json", config, 0 if name == "closed_config" else 0o644)
    write(f"{name}/model.safetensors", tensors, 0 if name == "closed_tensors" else 0o644)
    for what in ("config.json", "model.safetensors"):
        if not name.startswith(what.split(".")[0].replace("model", "tensors")):
            continue
        os.remove(f"{name}/{what}")
        if name.endswith("folder"):
            os.mkdir(f"{name}/{what}")
        else:
            os.symlink("blobs/0123" if name.endswith("nothing") else what, f"{name}/{what}")
os.chmod("closed", 0)
os.chmod("shut", 0o555)
for name, path in ("closed", "closed.spec"), ("folder", "folder"), ("nothing", "to_nothing.x"), ("tensors", "w.safetensors"), ("pipe", "pipe"):
    write(f"include_{name}.spec", f'model m\ninclude "{path}"\n'.encode())

LINK = "No such file or directory; it is a link, and what it points to is not there"
LOOP = "Too many levels of symbolic links"


def compiled(model, text):
    return ["compile", model, "-o", "out"], text


def weighed(path, text):
    return ["run", "p.spec", "--weights", path, "--input", "x=x.npy", "--output", "y=y.npy"], text


def given(path, text):
    return ["run", "p.spec", "--weights", "w.safetensors", "--input", f"x={path}", "--output", "y=y.npy"], text


def function(path, text):
    return ["compile", "models/moe-layer.spec", "-D", f"activation=c:{path}:f", "-o", "out"], text


CASES = [
    compiled("closed_config", "closed_config/config.json: error: cannot open: Permission denied"),
    compiled("closed_tensors", "closed_tensors/model.safetensors: error: cannot open: Permission denied"),
    compiled("closed", "closed/config.json: error: cannot open: Permission denied"),
    compiled("closed.spec", "closed.spec: error: cannot open: Permission denied"),
    compiled("to_nothing.x", f"to_nothing.x: error: cannot open: {LINK}"), compiled("to_itself", f"to_itself: error: cannot open: {LOOP}"),
    compiled("config_to_nothing", f"config_to_nothing/config.json: error: cannot open: {LINK}"),
    compiled("tensors_to_nothing", f"tensors_to_nothing/model.safetensors: error: cannot open: {LINK}"),
    compiled("config_to_itself", f"config_to_itself/config.json: error: cannot open: {LOOP}"),
    compiled("config_folder", "config_folder/config.json: error: cannot open: it is a directory"),
    compiled("tensors_folder", "tensors_folder/model.safetensors: error: expected a regular file, found a directory"),
    compiled("folder", "folder: error: it has no config.json"), compiled("pipe", "pipe: error: cannot open: it is not a regular file"),
    compiled("p.spec/x", "p.spec/x: error: cannot open: Not a directory"),
    compiled("n" * 300, "cannot open: File name too long"), compiled("a\nb.spec", "a\\nb.spec: error: cannot open: No such file"),
    compiled("include_closed.spec", "include_closed.spec:2:9: error: cannot include closed.spec: Permission denied"),
    compiled("include_folder.spec", "cannot include folder: it is a directory"),
    compiled("include_nothing.spec", f"cannot include to_nothing.x: {LINK}"),
    compiled("include_tensors.spec", "cannot include w.safetensors: expected a spec, found a safetensors file"),
    compiled("include_pipe.spec", "cannot include pipe: it is not a regular file"),
    (["import", "p.spec"], "p.spec: error: expected a directory with config.json and model.safetensors"),
    (["import", "owner/model"], "owner/model: error: cannot open: No such file or directory; a model of the Hugging Face Hub is downloaded"),
    weighed("closed.safetensors", "closed.safetensors: error: cannot open: Permission denied"), weighed("closed", "closed/model.safetensors: error: cannot open: Permission denied"),
    weighed("to_nothing.x", f"to_nothing.x: error: cannot open: {LINK}"), weighed("to_itself", f"to_itself: error: cannot open: {LOOP}"),
    weighed("tensors_to_nothing", f"tensors_to_nothing/model.safetensors: error: cannot open: {LINK}"),
    weighed("folder", "folder: error: expected model.safetensors or model.safetensors.index.json in the directory, found neither"),
    weighed("pipe", "pipe: error: expected a regular file, found a device, pipe or socket"),
    given("closed.npy", "closed.npy: error: cannot open: Permission denied"), given("to_nothing.x", f"to_nothing.x: error: cannot open: {LINK}"),
    given("to_itself", f"to_itself: error: cannot open: {LOOP}"), given("folder", "folder: error: expected a .npy file, found a directory"),
    given("pipe", "pipe: error: expected a .npy file, found a device, pipe or socket"),
    function("closed.c", "cannot read the C file closed.c: Permission denied"), function("folder", "cannot read the C file folder: it is a directory"),
    function("pipe", "cannot read the C file pipe: it is not a regular file"), function("to_nothing.x", f"cannot read the C file to_nothing.x: {LINK}"),
    function("w.safetensors", "expected C in w.safetensors, found a safetensors file"),
    (["compile", "p.spec", "-o", "shut/out"], "shut/out: error: cannot make this directory: Permission denied"),
    (["compile", "p.spec", "-o", "x.npy/out"], "x.npy/out: error: cannot make this directory: Not a directory"),
    (["pack", "p.spec", "--weights", "w.safetensors", "-o", "shut/p.hmw"], "shut/p.hmw"),
    (["check", "p.spec", "--tokens", "2", "--save-weights", "shut/w"], "shut/w: error: cannot write: Permission denied"),
]

wrong = 0
for arguments, text in CASES:
    found = run(*arguments)
    if found.returncode != 1 or text not in found.stderr or found.stderr.count("error: ") != 1 or os.path.exists("out"):
        wrong += 1
        print(f"{arguments}: expected status 1 and\n  {text}\nfound status {found.returncode} and\n  {found.stderr}")
os.chmod("closed", 0o755)
os.chmod("shut", 0o755)
print(f"{len(CASES)} refused, {wrong} wrong")
