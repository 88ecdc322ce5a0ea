"""Random layers on a GPU, by the driver of the tests (HMOE_CUDA_DRIVER): compiled code against the interpreter, on the chip's code for sm_80 or sm_90a.

  random_cuda_layers.py HMOEC MODELS [--count N] [--seed S]

Layer i of a run has seed S + i. What f32 may differ by is relative to the largest value; in bf16 by the 2-norm. A layer that fails is printed as the line
that runs it again."""
import argparse
import random
import re
import subprocess
import sys

F32_WORST, BF16_NORM = 2e-5, 1e-3
EXPERTS = {"activation": ["relu", "gelu", "gelu_new", "silu", "sigmoid"], "renorm": [0, 1], "dropped": ["pass", "zero"],
           "gate": ["softmax_then_topk", "topk_then_softmax", "softmax_topk_renorm", "sigmoid"]}
BIASED = {"gated": [0, 1], "expert_bias": [0, 1]}
SHARED = {"shared_expert": [0, 1], "shared_d_ff": [5, 30, 70]}
HYPER = {"condition": ["unselected", "unselected", "selected", "hidden_state", "expert_weights", "none"], "aggregate": ["mean", "sum"], "generated_bias": [0, 1],
         "bottleneck": [3, 8, 33], "hyper_hidden": [5, 16, 40], "expert_embedding": [8, 20], "selection_hidden": [7, 24], "selection_embedding": [6, 20]}
MODELS = {"moe-layer": {**EXPERTS, **BIASED, **SHARED}, "moe-share-layer": {**EXPERTS, **BIASED, "shared_d_ff": [5, 30, 70], "shared_gate": [0, 1]},
          "hypermoe-layer": {**EXPERTS, **BIASED, **HYPER}, "hyperrouter-layer": {**EXPERTS, "router_hidden": [5, 24]}}


def layer(rng, models):
    """(dtype, the options of `hmoec check`)"""
    model = rng.choice(sorted(MODELS) + ["hypermoe-layer"])
    dims = {"d_model": rng.choice([1, 5, 16, 20, 33, 64, 70, 100]), "d_ff": rng.choice([1, 7, 32, 33, 65, 128, 140]), "experts": rng.choice([2, 3, 5, 8, 17])}
    dims["top_k"] = rng.choice([k for k in (1, 1, 2, 3) if k < dims["experts"]])
    if rng.random() < 0.4: dims["capacity"] = rng.choice([1, 2, 7, 40])
    for name, values in MODELS[model].items(): dims[name] = rng.choice(values)
    if dims["gate"] != "sigmoid": dims["renorm"] = 0
    if model == "hypermoe-layer" and dims["expert_bias"] and dims["gated"] and rng.random() < 0.5: dims["gated"] = 0
    dtype = rng.choice(["f32", "bf16", "bf16"])
    tokens = rng.choice([0, 1, 2, 7, 31, 33, 70, 129, 300, 600])
    if model == "hypermoe-layer" and dims["condition"] not in ("none", "unselected", "selected"): tokens = min(tokens, 70)
    command = [f"{models}/{model}.spec", "--target", "cuda", "--mcpu", rng.choice(["sm_80", "sm_90a"]), "--dtype", dtype, "--tokens", str(tokens)]
    if model == "hypermoe-layer": command += ["--strategy", "auto"]
    command += ["--seed", str(rng.randrange(1000))]
    for name, value in dims.items(): command += ["-D", f"{name}={value}"]
    return dtype, command


def defect(dtype, result):
    """What is wrong with compiled code, or None; "refused" where it is refused by the rules of specs or of the target."""
    found = re.findall(r"^\S+\s+cuda\s+\S+\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s.*$", result.stdout, re.M)
    if not found and result.returncode == 0 and "within the tolerance" in result.stdout: return None  # no tokens
    if not found and result.returncode in (1, 2) and "internal" not in result.stderr and "CUDA" not in result.stderr:
        return "refused" if re.search(r"error: ", result.stderr) else "no rows"
    if not found: return "nothing was compared"
    for _, _, relative, norm in found:
        if "-" in (relative, norm) and result.stdout.startswith("0 tokens"): continue
        if dtype == "f32" and not float(relative) <= F32_WORST: return f"{relative} of the largest value"
        if dtype == "bf16" and not float(norm) <= BF16_NORM: return f"{norm} of the 2-norm"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hmoec")
    parser.add_argument("models")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed, refused = 0, []
    for i in range(options.count):
        dtype, command = layer(random.Random(options.seed + i), options.models)
        try:
            result = subprocess.run([options.hmoec, "check", *command], capture_output=True, text=True, timeout=300)
            wrong = defect(dtype, result)
        except subprocess.TimeoutExpired: wrong, result = "time is over", None
        if wrong == "refused": refused.append(re.search(r"error: (.*)", result.stderr)[1])
        elif wrong:
            failed += 1
            print(f"seed {options.seed + i}: {wrong}\n{options.hmoec} check {' '.join(command)}\n{result.stdout + result.stderr if result else ''}")
        sys.stdout.flush()
    for reason in sorted(set(re.sub(r"\d+", "N", r) for r in refused)): print(f"refused: {reason}")
    print(f"{options.count} layers from seed {options.seed}: {failed} failed, {len(refused)} refused")
    return failed > 0


sys.exit(main())
