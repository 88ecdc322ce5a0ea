"""Builds what the benchmark loads: layers by hmoec, linked with the runtime into shared libraries, and the C files beside this one."""

import ctypes
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("HMOE_BENCH_BUILD", ROOT / "build"))
HMOEC = BUILD / "bin" / "hmoec"
RUNTIME = ["-Wl,--whole-archive", BUILD / "lib" / "libhmoert.a", "-Wl,--no-whole-archive"]
RUNTIME += ["-lcjson", "-lxxhash", "-lpthread", "-lm"]


@dataclass
class Built:
    name: str
    library: Path
    compile_seconds: float
    object_bytes: int
    manifest: dict


@dataclass
class BuiltWhole:
    """A whole model: compiled from a Hugging Face directory and packed."""

    name: str
    library: Path
    memory_program: Path
    packed: Path
    record: dict  # what went into it: seconds, bytes


def command(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip() or f"{words[0]}: exit status {done.returncode}")
    return done.stdout


# Starts its arguments and prints, as the last line, how long they took and the most kilobytes they had resident. A process of its own: what
# this one has resident would count, as a child starts as its copy.
WATCH = """import os, sys, time
start = time.perf_counter()
status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)[1:]
print("\\n", time.perf_counter() - start, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) & 255)"""


def watched_command(*words):
    """(seconds, most bytes resident)"""
    seconds, kilobytes = command(sys.executable, "-S", "-c", WATCH, *words).split()[-2:]
    return float(seconds), int(kilobytes) << 10


@cache
def link(output, *arguments):
    """A shared library, made once: this process may have loaded it. -Bsymbolic binds it to its own runtime, whatever else is loaded."""
    compiler = os.environ.get("CC", "cc")
    command(compiler, "-shared", "-fPIC", "-std=gnu17", "-O3", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wl,-Bsymbolic", *arguments, "-o", output)
    return output


class Native:
    def __init__(self, folder):
        self.folder = folder
        self.built, self.executors = {}, {}
        folder.mkdir(parents=True, exist_ok=True)

    def model(self, spec, name, dtype, definitions=()):
        """Compiles a spec and links it. definitions: (dim, value) pairs."""
        key = (str(spec), dtype, tuple(definitions))
        if key not in self.built:
            words = [f"{dim}={value}" for dim, value in definitions]
            folder = self.folder / "-".join([name, dtype, *words])
            options = [option for word in words for option in ("-D", word)]
            if dtype != "f32":
                options += ["--dtype", dtype]
            start = time.perf_counter()
            command(HMOEC, "compile", spec, "-o", folder, *options)
            seconds = time.perf_counter() - start
            file = folder / f"{name}.o"
            library = link(folder / f"lib{name}.so", file, *RUNTIME)
            manifest = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            self.built[key] = Built(name, library, seconds, file.stat().st_size, manifest)
        return self.built[key]

    def layer(self, name, dtype, shape, definitions=()):
        spec = ROOT / "models" / f"{name.replace('_', '-')}.spec"
        dims = [("d_model", shape.d_model), ("d_ff", shape.d_ff), ("experts", shape.experts)]
        if name == "hypermoe_layer":
            dims += [("bottleneck", shape.bottleneck), ("layers", shape.layer_rows), ("layer", shape.layer)]
        return self.model(spec, name, dtype, [*dims, *definitions])

    def whole_model(self, checkpoint, dtype, threads):
        """Compiles and packs a Hugging Face directory, and links the model as a library and as the program that measures memory."""
        folder = self.folder / f"{checkpoint.name}-{dtype}"
        options = ["--dtype", dtype] if dtype != "f32" else []
        compile_seconds, compile_bytes = watched_command(HMOEC, "compile", checkpoint, "-o", folder, *options)
        (header,) = folder.glob("*.h")
        name, packed = header.stem, folder / "weights.hmw"
        words = ["pack", checkpoint, "--weights", checkpoint, "-o", packed, "--threads", threads, *options]
        pack_seconds, pack_bytes = watched_command(HMOEC, *words)
        sources = [f"-DMODEL={name}", f"-I{ROOT / 'include'}", f"-I{folder}", "-include", header, ROOT / "bench" / "whole_model.c"]
        library = link(folder / f"lib{name}.so", *sources, header.with_suffix(".o"), *RUNTIME)
        program = folder / "memory"
        compiler = os.environ.get("CC", "cc")
        sources.append(ROOT / "bench" / "whole_model_memory.c")
        command(compiler, "-std=gnu17", "-O2", "-Wall", "-Wextra", *sources, header.with_suffix(".o"), *RUNTIME, "-o", program)
        record = {
            "compile_seconds": compile_seconds,
            "compile_peak_bytes": compile_bytes,
            "object_bytes": header.with_suffix(".o").stat().st_size,
            "pack_seconds": pack_seconds,
            "pack_peak_bytes": pack_bytes,
            "packed_bytes": packed.stat().st_size,
        }
        return BuiltWhole(name, library, program, packed, record)

    def openblas(self):
        return link(self.folder / "libopenblas_layer.so", ROOT / "bench" / "openblas_layer.c", "-lopenblas", "-lpthreadpool", "-lcjson", "-lm")

    def executor(self, threads):
        """An hmoe_executor *, the same for all."""
        if threads not in self.executors:
            headers = [f"-I{ROOT / folder}" for folder in ("include", "runtime")]
            path = link(self.folder / "libexecutor.so", *headers, ROOT / "bench" / "executor.c", *RUNTIME)
            library = ctypes.CDLL(str(path))
            library.bench_executor_create.restype = ctypes.c_void_p
            self.executors[threads] = library.bench_executor_create(ctypes.c_size_t(threads))
        return self.executors[threads]

    def ceilings(self):
        compiler = ROOT / "compiler"
        sources = [compiler / "commands" / "ceilings.c", compiler / "support" / "clock.c", ROOT / "bench" / "machine_ceilings.c"]
        return link(self.folder / "libceilings.so", f"-I{compiler}", f"-I{ROOT / 'bench'}", *sources, "-lpthreadpool", "-lm")
