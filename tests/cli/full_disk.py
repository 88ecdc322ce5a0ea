"""full_disk.py HMOEC MODEL ARGUMENT...: every command that writes, on a file system of 8 KiB or, where none may be mounted, with files limited to as much.
Each ends with status 1 and one error that has the system's reason, and leaves nothing; else this ends with status 1."""
import os, resource, shutil, signal, subprocess, sys

HMOEC, MODEL, ARGUMENTS = sys.argv[1], sys.argv[2], sys.argv[3:]
MOUNT = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=8k tmpfs full && "$@"; status=$?; find full -type f; exit $status', "sh"]
mounts = subprocess.run(["unshare", "-rm", "sh", "-c", "mkdir -p full && mount -t tmpfs -o size=8k tmpfs full"], capture_output=True).returncode == 0


def limit():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def attempt(name, arguments, limited=True):
    shutil.rmtree("full", ignore_errors=True)
    os.mkdir("full")
    command = [HMOEC] + arguments
    if mounts:
        done = subprocess.run(MOUNT + command, capture_output=True, text=True)
    elif limited:
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, restore_signals=False)
    else:
        return True
    left = done.stdout.split("\n") if mounts else [os.path.join(folder, file) for folder, _, files in os.walk("full") for file in files]
    errors = [line for line in done.stderr.split("\n") if "error: " in line]
    fine = done.returncode in (1, 3) and len(errors) == 1 and not [f for f in left if f]
    fine &= any(reason in errors[0] for reason in ("No space left on device", "File too large", "do not fit")) if errors else False
    print(f"{name}: status {done.returncode}, {'nothing left' if fine else left}, {errors}", flush=True)
    return fine


fine = True
for f in ("w.safetensors", "x.npy"):
    assert os.path.exists(f)
inputs = ["--weights", "w.safetensors", "--input", "x=x.npy"]
fine &= attempt("compile", ["compile", MODEL, *ARGUMENTS, "-o", "full"])
fine &= attempt("compile --emit", ["compile", MODEL, *ARGUMENTS, "--emit", "asm", "-o", "full"])
fine &= attempt("compile --dump-ir", ["compile", MODEL, *ARGUMENTS, "--dump-ir", "full/dump", "-o", "other"])
fine &= attempt("check --save-weights", ["check", MODEL, *ARGUMENTS, "--tokens", "1", "--save-weights", "full/out"], limited=False)
fine &= attempt("pack", ["pack", MODEL, *ARGUMENTS, "--weights", "w.safetensors", "-o", "full/out"], limited=False)
fine &= attempt("run", ["run", MODEL, *ARGUMENTS, *inputs, "--output", "y=full/out"], limited=False)
fine &= attempt("import", ["import", "directory", "-o", "full/out"])
sys.exit(not fine)
