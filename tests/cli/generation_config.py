"""generation_config.py HMOEC INPUTS FOLDER: what a generation_config.json says gives the tokens of the library, and so do the options of the
command line. INPUTS/generation_settings.json was made by transformers 4.30.2 (torch 1.13.1): generate(input_ids) of each checkpoint with each
generation_config.json, in f32."""
import concurrent.futures
import json
import os
import subprocess
import sys

import numpy

hmoec, inputs, folder = sys.argv[1:]

FLAGS = {
    "eos_token_id": "--end-token", "pad_token_id": "--pad-token", "decoder_start_token_id": "--start-token", "max_length": "--max-length",
    "max_new_tokens": "--max-new-tokens", "min_length": "--min-length", "min_new_tokens": "--min-new-tokens", "num_beams": "--beams",
    "early_stopping": "--early-stopping", "length_penalty": "--length-penalty", "no_repeat_ngram_size": "--no-repeat-ngram",
    "repetition_penalty": "--repetition-penalty", "suppress_tokens": "--suppress-tokens", "begin_suppress_tokens": "--begin-suppress-tokens",
    "forced_bos_token_id": "--forced-bos-token", "forced_eos_token_id": "--forced-eos-token"}  # fmt: skip


def flags_of(config):
    for key, value in config.items():
        if key == "bad_words_ids":
            for word in value:
                yield from ("--bad-word", ",".join(map(str, word)))
        elif key in FLAGS:
            if isinstance(value, list):
                value = ",".join(map(str, value))
            yield from (FLAGS[key], "none" if value is None else json.dumps(value).strip('"') if isinstance(value, (bool, str)) else str(value))


def generate(name, checkpoint, config, flags):
    directory = f"{folder}/{name}"
    os.makedirs(directory)
    for file in ("config.json", "model.safetensors"):
        os.symlink(f"{inputs}/{checkpoint}/{file}", f"{directory}/{file}")
    if config is not None:
        json.dump(config, open(f"{directory}/generation_config.json", "w"))
    command = [hmoec, "generate", directory, "--input", f"input_ids={inputs}/{checkpoint}/input_ids.npy", "-o", f"{directory}/t.npy", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    return numpy.load(f"{directory}/t.npy").tolist() if done.returncode == 0 else done.stderr


def run(job):
    name, case, by_flags = job
    config = case["generation_config"]
    # By options, over settings that they all have to override.
    other = {"eos_token_id": 4, "pad_token_id": 3, "decoder_start_token_id": 9, "max_new_tokens": 3, "do_sample": True, "temperature": 0.1}
    flags = list(flags_of(config)) if by_flags else []
    if by_flags and "num_beams" not in config:
        flags.append("--greedy")
    if by_flags and "pad_token_id" not in config:
        flags += ["--pad-token", "none"]
    found = generate(name, case["checkpoint"], other if by_flags else config, flags)
    return None if found == case["tokens"] else f"{name}: {config} {flags}: expected {case['tokens']}, found {found}"


cases = json.load(open(f"{inputs}/generation_settings.json"))
jobs = [(f"file{i}", case, False) for i, case in enumerate(cases)] + [(f"flags{i}", case, True) for i, case in enumerate(cases) if i % 4 == 1]
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    bad = [text for text in pool.map(run, jobs) if text]
print("\n".join(bad) or f"{len(jobs)} cases agree")
sys.exit(bool(bad))
