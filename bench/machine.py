"""The machine and the versions that numbers belong to."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "openvino", "onnxruntime", "iree-base-compiler", "transformers", "numpy")


def processor():
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def caches():
    """[(name, bytes)] of one CPU, the last level last."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = ((folder / name).read_text(encoding="ascii").strip() for name in ("type", "level", "size"))
        if kind != "Instruction":
            found.append((f"L{level}", int(size.rstrip("KMG")) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size[-1]]))
    return found or [("L3", 32 << 20)]  # nothing is known in some containers


def available_bytes():
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) << 10
    return 0


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit(root):
    """With "-dirty" if something has changed, other than docs."""

    def git(*words):
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)

    changed = git("diff", "--quiet", "HEAD", "--", ".", ":!docs").returncode
    return git("describe", "--always").stdout.strip() + ("-dirty" if changed else "")


def describe(root):
    return {
        "processor": processor(),
        "caches": caches(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_before": os.getloadavg()[0],
        "hmoec": commit(root),
        "packages": {package: version(package) for package in PACKAGES},
    }
