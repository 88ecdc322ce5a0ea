"""lit: tests/ir (*.mlir), tests/cli and tests/repro (*.test). Run `lit BUILD/tests`; CMake writes BUILD/tests/lit.site.cfg.py.

RUN lines are bash with pipefail. A test that needs a CPU says `REQUIRES: avx2`, avx512, avx512_bf16 or amx, so that a machine without
it reports the test as unsupported; one that needs NVIDIA's assembler or disassembler says ptxas, or nvdisasm, and takes HMOE_PTXAS=%ptxas and
HMOE_NVDISASM=%nvdisasm, which are "none" otherwise. Substitutions, besides lit's own (%s, %S, %t, %T):

  %hmoec %hmoec-opt %FileCheck %not %python %cmake programs
  %cc, %compiler, %cflags                         the C compiler with the build's sanitizer flags; both apart
  %comma_locale                                   tools/comma_locale.py, for the begin of a command; REQUIRES: comma_locale
  %guarded                                        tools/guarded_memory.c, for the begin of a command; nothing under sanitizers
  %source %models %golden %build %include         folders; %golden is tests/golden, %include the public headers
  %runtime                                        libhmoert.a and what it needs, for the end of a %cc line
"""
import os
import shutil
import sys

import lit.formats

config.name = "hmoec"
config.test_format = lit.formats.ShTest(execute_external=True)
config.suffixes = [".mlir", ".test"]
# A test that hangs fails by name; lit needs psutil to end what it started. Sanitizers are slow, and so is a machine that does other work.
lit_config.maxIndividualTestTime = 1800 if config.hmoe_sanitize else 900
config.excludes = ["Inputs", "fuzz", "golden", "numeric", "unit"]
config.test_source_root = os.path.join(config.hmoe_source, "tests")
config.test_exec_root = os.path.join(config.hmoe_build, "tests", "lit")

source, build, tools = config.hmoe_source, config.hmoe_build, config.hmoe_llvm_tools
runtime = f"{build}/lib/libhmoert.a -lcjson -lxxhash -lpthread -lm"
for name, value in [
    ("hmoec-opt", f"{build}/bin/hmoec-opt"),
    ("hmoec", f"{build}/bin/hmoec"),
    ("FileCheck", f"{tools}/FileCheck"),
    ("not", f"{tools}/not"),
    ("python", sys.executable),
    ("cc", f"{config.hmoe_compiler} {config.hmoe_cflags}".strip()),
    ("compiler", config.hmoe_compiler),
    ("cflags", config.hmoe_cflags),
    ("cmake", config.hmoe_cmake),
    ("comma_locale", f"{sys.executable} {source}/tests/tools/comma_locale.py {build}"),
    ("guarded", "" if config.hmoe_sanitize else f"env LD_PRELOAD={build}/lib/guarded_memory.so"),
    ("models", f"{source}/models"),
    ("golden", f"{source}/tests/golden"),
    ("include", f"{source}/include"),
    ("runtime", runtime),
    ("source", source),
    ("build", build),
]:
    config.substitutions.append((rf"%{name}\b", value))

config.environment["PATH"] = os.pathsep.join([f"{build}/bin", tools, os.environ.get("PATH", "")])
for variable in ("HMOE_CPU", "HMOE_DEBUG", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "TMPDIR"):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]


def find_gpu_program(variable, name):
    """Where the compiler and tools/gpu-report would find a program of NVIDIA's; None: nowhere."""
    named = os.environ.get(variable)
    if named == "none":
        return None
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/"), ".cache")
    places = [os.path.join(os.environ["CUDA_HOME"], "bin")] if os.environ.get("CUDA_HOME") else []
    places += os.environ.get("PATH", "").split(os.pathsep) + ["/usr/local/cuda/bin", os.path.join(cache, "hmoec/cuda/bin")]
    return shutil.which(named or name, path=os.pathsep.join(places))


for variable, name in (("HMOE_PTXAS", "ptxas"), ("HMOE_NVDISASM", "nvdisasm")):
    found = find_gpu_program(variable, name)
    config.environment[variable] = "none"
    config.substitutions.append((rf"%{name}\b", found or "none"))
    if found:
        config.available_features.add(name)


def cpu_flags():
    """Flags of the first processor as Linux names them; empty where that cannot be read."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


flags = cpu_flags()
if {"avx2", "fma"} <= flags:
    config.available_features.add("avx2")
if {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"} <= flags:
    config.available_features.add("avx512")
if "avx512" in config.available_features and "avx512_bf16" in flags:
    config.available_features.add("avx512_bf16")
if "avx512_bf16" in config.available_features and {"amx_tile", "amx_bf16"} <= flags:
    config.available_features.add("amx")
# What `check` of tools/check_in_turn.sh takes in turn. Generated code is not instrumented: one version of it is enough under sanitizers.
versions = ["portable"] + [version for version in ("avx2", "avx512", "avx512_bf16", "amx") if version in config.available_features and not config.hmoe_sanitize]
config.environment["HMOE_TEST_VERSIONS_F32"] = " ".join(versions[:3])
config.environment["HMOE_TEST_VERSIONS_BF16"] = " ".join(versions)
# Not under sanitizers, which must be loaded before anything else.
if not config.hmoe_sanitize and shutil.which("localedef") and os.path.exists("/usr/share/i18n/locales/de_DE"):
    config.available_features.add("comma_locale")
if os.geteuid() == 0:
    config.available_features.add("root")
if config.hmoe_sanitize:
    config.available_features.add("sanitizer")
    # `not` takes an exit status for the failure it expects, but no signal: what a sanitizer finds has to be one.
    for variable in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        config.environment[variable] = ":".join(filter(None, [os.environ.get(variable), "abort_on_error=1"]))
