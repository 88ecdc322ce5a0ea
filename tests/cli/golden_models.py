"""Whole models of the published implementation:  golden_models.py HMOEC GOLDEN CPU DTYPE FOLDER [MODEL...]

Runs GOLDEN/MODEL for each of the four, or those named (the directory is the MODEL), with one CPU version, or on "cuda", and compares logits and encoder_hidden with what was
published, of `forward` and of `encode`; in f32 also what `generate` makes of the prompt, token by token. bf16 is far from what was published: more is seen
by the comparison with the interpreter that rounds as it does, on random tokens. Files go to FOLDER."""
import os
import subprocess
import sys

import numpy

hmoec, golden, cpu, dtype, folder = sys.argv[1:6]
models = sys.argv[6:] or ["switch-hypermoe-tiny", "switch-moe-tiny", "gpt2-hypermoe-tiny-k1", "gpt2-hypermoe-tiny-k2"]
place = ["--target", "cuda"] if cpu == "cuda" else []
if not place:
    os.environ["HMOE_CPU"] = cpu
TOLERANCES = {"f32": (5e-5, 5e-5), "bf16": (5e-2, 3e-2)}  # of the largest value, and of the 2-norm


def call(command, model, inputs, *options):
    weights = f"{golden}/{model}/model.safetensors"
    files = [option for name, file in inputs.items() for option in ("--input", f"{name}={file}")]
    subprocess.run([hmoec, command, f"{golden}/{model}", "--weights", weights, "--dtype", dtype, *place, *files, *options],
                   check=True, stderr=subprocess.DEVNULL)


def compare(what, found, wanted):
    apart = found.astype(numpy.float64) - wanted
    worst, distance = abs(apart).max() / abs(wanted).max(), numpy.linalg.norm(apart) / numpy.linalg.norm(wanted)
    print(f"{cpu} {dtype} {what}: {worst:.2g} of the largest value, {distance:.2g} of the 2-norm")
    most = TOLERANCES[dtype]
    if found.shape != wanted.shape or not worst <= most[0] or not distance <= most[1]:
        sys.exit(f"{what}: expected at most {most[0]:g} and {most[1]:g}")


def check(model):
    case, encodes = f"{golden}/{model}", model.startswith("switch")
    inputs = {"input_ids": f"{case}/input_ids.npy"}
    if encodes:
        inputs["attention_mask"] = f"{case}/attention_mask.npy"
    outputs = ["logits", "encoder_hidden"] if encodes else ["logits"]
    files = {name: f"{folder}/{name}.npy" for name in outputs}
    decoder = {"decoder_input_ids": f"{case}/decoder_input_ids.npy"} if encodes else {}
    call("run", model, {**inputs, **decoder}, *[option for name in outputs for option in ("--output", f"{name}={files[name]}")])
    for name in outputs:
        compare(f"{model} {name}", numpy.load(files[name]), numpy.load(f"{case}/{name}.npy"))
    if encodes:
        call("run", model, inputs, "--entry", "encode", "--output", f"encoder_hidden={folder}/encoded.npy")
        encoded = numpy.load(f"{folder}/encoded.npy")
        if not (encoded == numpy.load(files["encoder_hidden"])).all():
            sys.exit(f"{model}: encode and forward differ")
    if dtype == "bf16":
        found = subprocess.run([hmoec, "check", case, "--dtype", dtype, "--cpu", cpu, "--strategy", "table"], check=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True).stdout.splitlines()
        print(found[-1])
        if not found[-1].startswith(f"{len(outputs)} compared, {len(outputs)} within the tolerance"):
            sys.exit("\n".join(found))
    if dtype == "f32":
        greedy = numpy.load(f"{case}/greedy.npy")
        if not encodes:  # the prompts are the first tokens
            inputs["input_ids"] = f"{folder}/prompt.npy"
            numpy.save(inputs["input_ids"], greedy[:, :-12])
        call("generate", model, inputs, "--max-new-tokens", "12", "--end-token", "none", "-o", f"{folder}/tokens.npy")
        tokens = numpy.load(f"{folder}/tokens.npy")
        if tokens.shape != greedy.shape or not (tokens == greedy).all():
            sys.exit(f"{model}: generated\n{tokens}\nexpected\n{greedy}")
        print(f"{model} generates the published tokens")


for case in models:
    check(case)
