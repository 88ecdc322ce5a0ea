"""Files of the present library:  golden_peers.py HMOEC GOLDEN CPU DTYPE FOLDER

Runs GOLDEN/peers/MODEL for each of the four (the directory is the MODEL) with one CPU version and compares logits with the library's; in f32 also
the tokens that it generates, greedily and with three beams. Files go to FOLDER."""
import os
import subprocess
import sys

import numpy

hmoec, golden, cpu, dtype, folder = sys.argv[1:]
os.environ["HMOE_CPU"] = cpu
# Of the largest value: the worst, and the worst of the middle position. In bf16 single positions go to other experts.
MOST = {"f32": (5e-5, 5e-5), "bf16": (0.3, 5e-2)}[dtype]


def call(command, model, names, *options):
    inputs = [option for name in names for option in ("--input", f"{name}={golden}/peers/{model}/{name}.npy")]
    subprocess.run([hmoec, command, f"{golden}/peers/{model}", "--dtype", dtype, *inputs, *options], check=True, stderr=subprocess.DEVNULL)


def check(model):
    case = f"{golden}/peers/{model}"
    prompt = ["input_ids", "attention_mask"]
    call("run", model, prompt + (["decoder_input_ids"] if model.startswith("switch") else []), "--output", f"logits={folder}/logits.npy")
    found, wanted = numpy.load(f"{folder}/logits.npy"), numpy.load(f"{case}/logits.npy")
    if found.shape != wanted.shape:
        sys.exit(f"{model}: found {found.shape}, expected {wanted.shape}")
    apart = abs(found.astype(numpy.float64) - wanted).max(axis=-1) / abs(wanted).max()
    print(f"{cpu} {dtype} {model}: {apart.max():.2g} of the largest value, in the middle {numpy.median(apart):.2g}")
    if not apart.max() <= MOST[0] or not numpy.median(apart) <= MOST[1]:
        sys.exit(f"{model}: expected at most {MOST[0]:g} and {MOST[1]:g}")
    for name, beams in (("gen_greedy", "1"), ("gen_beam", "3")) if dtype == "f32" else ():
        # The library counts capacity anew in every call.
        call("generate", model, prompt, "--beams", beams, "-D", "capacity_per_call=1", "--max-new-tokens", "9", "--end-token", "none", "-o", f"{folder}/tokens.npy")
        tokens, wanted = numpy.load(f"{folder}/tokens.npy"), numpy.load(f"{case}/{name}.npy")
        if tokens.shape != wanted.shape or not (tokens == wanted).all():
            sys.exit(f"{model} {name}: generated\n{tokens}\nexpected\n{wanted}")
        print(f"{model} {name}: the library's tokens")


for case in ("switch-untied", "switch-capacity", "switch-gated-gelu", "gpt2-inverse-layer"):
    check(case)
