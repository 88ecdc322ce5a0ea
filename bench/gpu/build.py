"""Compiles what the first run on a GPU needs, into one folder that a machine without LLVM or this checkout can run.

build.py HMOEC RUNTIME_LIBRARY INCLUDE_DIRECTORY GOLDEN MODELS OUT [--dry]     --dry: two small shapes, for the driver of the tests
"""
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# name, spec, what it overrides; the first word of a name is what `layers` compares with the layer of the same shape and no HyperExperts
SHAPES = [
    ("hyper_768", "hypermoe-layer", dict(d_model=768, d_ff=3072, experts=8)),
    ("moe_768", "moe-layer", dict(d_model=768, d_ff=3072, experts=8)),
    ("moe_4096", "moe-layer", dict(d_model=4096, d_ff=14336, experts=8, top_k=2, gated=1, activation="silu")),
    ("moe_2048", "moe-layer", dict(d_model=2048, d_ff=1408, experts=64, top_k=6, gated=1, activation="silu")),
    ("hyper_2048", "hypermoe-layer", dict(d_model=2048, d_ff=1408, experts=16, top_k=2, bottleneck=64)),
]
DRY = ("hyper_768", "moe_4096")
SMALL = dict(d_model=72, d_ff=136, experts=4)
GOLDEN = [("golden_hypermoe", "hypermoe-layer", "layer-hypermoe"), ("golden_moe", "moe-layer", "layer-moe")]


def run(*words):
    subprocess.run([str(w) for w in words], check=True)


def compile_model(hmoec, models, out, name, spec, defines, target, dtype):
    """The manifest of the spec, compiled under another name."""
    specs = out / "specs"
    shutil.copytree(models, specs, dirs_exist_ok=True)
    path = specs / f"{name}.spec"
    path.write_text(re.sub(r"^model \w+", f"model {name}", (models / f"{spec}.spec").read_text(), flags=re.M))
    words = [w for key, value in defines.items() for w in ("-D", f"{key}={value}")]
    run(hmoec, "compile", path, *words, "--target", target, "--dtype", dtype, "-o", out / "objects")
    return json.loads((out / "objects" / f"{name}.json").read_text())


def table_of(case):
    """A row of the program's table of cases, and the parameters in front of it."""
    name, dims, manifest = case["name"], case["dims"], case["manifest"]
    lines = [f"static const parameter {name}_parameters[] = {{"]
    for p in manifest["parameters"]:
        for number in range(max(p["count"], 1)):
            key = p["key"].replace("{}", str(number))
            lines.append(f'  {{"{key}", {len(p["shape"])}, {{{", ".join(map(str, p["shape"]))}}}}},')
    lines += ["};"]
    fields = [f'"{name}"', f"&{name}_object", f"&{case['reference']}_object" if case["reference"] else "NULL",
              f"{name}_parameters, sizeof {name}_parameters / sizeof *{name}_parameters",
              *[str(dims[k]) for k in ("d_model", "d_ff", "experts", "top_k", "gated")], f'"{case["golden"]}"' if case["golden"] else "NULL"]
    return lines, "  {" + ", ".join(fields) + "},"


def main():
    dry = sys.argv[-1] == "--dry"
    if len(sys.argv) != 7 + dry: sys.exit(__doc__)
    hmoec, library, include, golden, models, out = map(Path, sys.argv[1:7])
    shutil.rmtree(out, ignore_errors=True)
    (out / "objects").mkdir(parents=True)
    cases = []
    for name, spec, defines in [s for s in SHAPES if not dry or s[0] in DRY]:
        if dry: defines = {**defines, **SMALL, **({"bottleneck": 16} if "hyper" in name else {}), "top_k": min(defines.get("top_k", 1), 2)}
        dims = {"top_k": 1, "gated": 0, **defines}
        manifest = compile_model(hmoec, models, out, name, spec, defines, "cuda", "bf16")
        compile_model(hmoec, models, out, name + "_cpu", spec, defines, "cpu", "f32")
        cases.append(dict(name=name, dims=dims, manifest=manifest, reference=name + "_cpu", golden=None))
    for name, spec, folder in GOLDEN:
        dims = json.loads((golden / folder / "dims.json").read_text())
        manifest = compile_model(hmoec, models, out, name, spec, dims, "cuda", "f32")
        shutil.copytree(golden / folder, out / "golden" / name)
        cases.append(dict(name=name, dims={"top_k": 1, "gated": 0, "d_ff": 0, "experts": 0, **dims}, manifest=manifest, reference=None, golden=name))
    declared, rows = [], []
    for case in cases:
        for model in filter(None, (case["name"], case["reference"])): declared.append(f"extern const struct hmoe_model_object {model}_object;")
        lines, row = table_of(case)
        declared += lines
        rows.append(row)
    (out / "cases.h").write_text("\n".join(declared + ["static const layer_case cases[] = {"] + rows + ["};"]) + "\n")
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu17", f"-I{include}", f"-I{out}"]
    objects = sorted((out / "objects").glob("*.o"))
    libraries = [library, "-lcjson", "-lxxhash", "-lpthread", "-lm", "-ldl"]
    run("cc", *flags, HERE / "first_run.c", *objects, *libraries, "-o", out / "first_run")
    run("cc", *flags, "-shared", "-fPIC", HERE / "first_run.c", *objects, *libraries, "-o", out / "libfirst_run.so")
    for each in ("objects", "specs"): shutil.rmtree(out / each)
    (out / "cases.h").unlink()
    for script in ("peers.py", "fused_moe.py", "on_gpu.sh"): shutil.copy(HERE / script, out)
    print(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 2**20:.1f} MiB")


main()
