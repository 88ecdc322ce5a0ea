"""Whole models: a Switch Transformer (encoder and decoder) with HyperMoE, and one without, as hmoec compiles them and as the published
algorithm computes them in PyTorch. Forward passes and greedy decoding, in turns; what compiling, packing and opening cost; and the
memory of a run against what `hmoec explain` says.

The checkpoints are of tests/tools/write_checkpoint.py: random weights, the dims of switch-base-8. Both have the same experts."""

import gc
import json
import logging
import math
import re
import statistics
import sys
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import machine
from contenders.ours import VERIFY_WEIGHTS
from native import HMOEC, ROOT, command
from turns import Pace, measure

INPUTS = 4
# Untied: where the token that comes out is found with the embeddings of those that go in, random weights decode one token again and again.
CHECKPOINTS = {"hypermoe": ("--untied",), "moe": ("--untied", "--no-hypermoe")}
QUICK_DIMS = ("layers=2", "d-model=256", "d-ff=512", "heads=4", "vocab=2000")
GOLDEN = {"hypermoe": "switch-hypermoe-tiny", "moe": "switch-moe-tiny"}
GOLDEN_TOLERANCE = 2e-5
# The logits of a token against the published algorithm's in f32: 2-norm of the difference, relative to theirs. Some tokens may differ by
# more: two experts can be so close for a token that rounding decides between them, and then for those that attend to it.
TOLERANCE = {"f32": 2e-4, "bf16": 0.15}
LEAST_CLOSE = {"f32": 0.95, "bf16": 0.5}  # share of the tokens that must be within the tolerance


@dataclass(frozen=True)
class Task:
    rows: int
    length: int
    target: int
    new_tokens: int = 0  # 0: a forward pass

    @property
    def name(self):
        if self.new_tokens:
            return f"{self.new_tokens} new tokens of {self.rows} sequence{'s' if self.rows > 1 else ''}"
        return f"forward, {self.rows} x {self.length} tokens"

    @property
    def tokens(self):
        """What throughput counts: of a forward pass those of the encoder and of the decoder, else those that were generated."""
        return self.rows * (self.new_tokens or self.length + self.target)


TASKS = [
    Task(8, 256, 256),
    Task(1, 128, 1, 64),
    Task(8, 128, 1, 64),
]


@dataclass(frozen=True)
class Plan:
    model: str  # its name in the report
    dims: tuple
    tasks: list
    pace: Pace
    published_seconds: float | None = None  # of runs, after which the models in PyTorch take no more turns


def make_plan(options):
    if options.quick:
        tasks = [replace(t, length=t.length // 4, target=max(t.target // 4, 1), new_tokens=t.new_tokens // 4) for t in TASKS]
        return Plan("a small one", options.model_dims or QUICK_DIMS, tasks, Pace(turns=3, turn_seconds=0.5))
    name = f"switch-base-8 with {' '.join(options.model_dims)}" if options.model_dims else "switch-base-8"
    if options.short:
        tasks = [replace(t, new_tokens=t.new_tokens // 2) for t in TASKS]
        pace = Pace(turns=4, turn_seconds=0.5, uncounted_runs=0, warm_up_seconds=0)
        return Plan(name, options.model_dims, tasks, pace, published_seconds=5)
    return Plan(name, options.model_dims, TASKS, Pace(turns=5, turn_seconds=5, uncounted_runs=0))


# name: label, checkpoint, compiled
CONTENDERS = {
    "ours_hypermoe": ("hmoec HyperMoE", "hypermoe", True),
    "ours_moe": ("hmoec MoE", "moe", True),
    "published_hypermoe": ("HyperMoE as published", "hypermoe", False),
    "published_moe": ("MoE in PyTorch", "moe", False),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def reason(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


@dataclass
class Input:
    input_ids: np.ndarray
    attention_mask: np.ndarray
    decoder_input_ids: np.ndarray


def make_inputs(task, vocab):
    """Random tokens; every second row of a batch ends in padding, an eighth of it."""
    generator, inputs = np.random.default_rng([1, task.rows, task.length]), []
    for _ in range(INPUTS):
        ids = generator.integers(2, vocab, (task.rows, task.length))
        decoder_ids = generator.integers(2, vocab, (task.rows, task.target))
        decoder_ids[:, 0] = 0
        mask = np.ones_like(ids)
        mask[1::2, -(task.length // 8) :] = 0
        inputs.append(Input(ids * mask, mask, decoder_ids))
    return inputs


def write_checkpoints(folder, dims):
    """{name: folder}, of all CHECKPOINTS. dims: name=value, where they are not those of switch-base-8."""
    found = {}
    for name, options in CHECKPOINTS.items():
        found[name] = folder / f"switch-{name}"
        words = [*options, *(f"--{dim}" for dim in dims), "--quiet"]
        command(sys.executable, ROOT / "tests" / "tools" / "write_checkpoint.py", "switch", found[name], *words)
    return found


def check_published():
    """The published algorithm, as it is timed here, against the golden outputs of its implementation. Raises if it differs."""
    from contenders.published_model import golden_errors

    records = {}
    for name, folder in GOLDEN.items():
        records[name] = golden_errors(ROOT / "tests" / "golden" / folder)
        say(f"{folder}, published algorithm against its golden outputs: " + ", ".join(f"{k} {v:.2g}" for k, v in records[name].items()))
        if max(records[name]["logits"], records[name]["encoder_hidden"]) > GOLDEN_TOLERANCE or records[name]["greedy_equal"] < 1:
            raise RuntimeError(f"the published algorithm does not give the golden outputs of {folder}")
    return records


class References:
    """What input 0 of a task gives by the published algorithm in f32, by checkpoint and task."""

    def __init__(self, checkpoints, tasks, inputs):
        from contenders.published_model import PublishedModel
        from contenders.whole_models import PublishedRuns

        self.results = {}
        for name, folder in checkpoints.items():
            model = PublishedModel(folder)
            for task in tasks:
                self.results[name, task.name] = PublishedRuns(model, task, inputs[task.name][:1]).result(0, 0)
            del model
            gc.collect()

    def compare(self, checkpoint, task, dtype, result):
        """A record of how far a result is from the reference. Raises if it is too far."""
        wanted = self.results[checkpoint, task.name]
        if task.new_tokens:
            equal = result[:, 1:] == wanted[:, 1:]
            if dtype == "f32" and not equal[:, 0].mean() >= LEAST_CLOSE[dtype] / 2:
                raise RuntimeError(f"wrong result: {100 * equal[:, 0].mean():.0f} % of the first tokens are the reference's")
            return {"equal_tokens": float(equal.mean())}
        apart = np.linalg.norm(result - wanted, axis=-1) / np.linalg.norm(wanted, axis=-1)
        record = {"typical_difference": float(np.median(apart)), "close_tokens": float((apart < TOLERANCE[dtype]).mean())}
        if not record["close_tokens"] >= LEAST_CLOSE[dtype]:
            raise RuntimeError(f"wrong result: a typical token differs from the reference by {record['typical_difference']:.1e}")
        return record


# ---- building, opening, memory ----


def open_seconds(built, threads, flags, times=5):
    from contenders.whole_models import OurModel

    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        model = OurModel(built, threads, flags)
        seconds.append(time.perf_counter() - start)
        model.close()
    return statistics.median(seconds)


def explained_bytes(checkpoint, dtype, tokens, threads):
    """What explain predicts for a run of so many tokens: packed weights, workspace, and scratch of all threads."""
    text = command(HMOEC, "explain", checkpoint, "--tokens", tokens, *(["--dtype", dtype] if dtype != "f32" else []))
    found = {}
    for name, pattern in (("weight_bytes", r"packed weights ([\d.]+) MB"), ("workspace_bytes", r"workspace ([\d.]+) MB")):
        match = re.search(pattern, text)
        if match:
            found[name] = 1e6 * float(match[1])
    scratch = re.search(r"and ([\d.]+) MB a thread", text)
    if scratch and "workspace_bytes" in found:
        found["workspace_bytes"] += 1e6 * float(scratch[1]) * threads
    return found


def memory_of_run(built, checkpoint, dtype, task, threads):
    """Of a process that opens the packed weights and runs a forward pass, beside the prediction."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    words = [threads, task.rows, task.length, task.target, config["vocab_size"], config["d_model"]]
    record = json.loads(command(built.memory_program, built.packed, *words))
    return {"task": task.name, **record, "explained": explained_bytes(checkpoint, dtype, task.rows * max(task.length, task.target), threads)}


def build(run, checkpoint, name, dtype, task):
    """(what was built, its record)"""
    built = run.native.whole_model(checkpoint, dtype, run.threads)
    record = {
        "model": name,
        "dtype": dtype,
        **built.record,
        "checkpoint_bytes": sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")),
        "open_seconds": open_seconds(built, run.threads, 0),
        "open_verifying_seconds": open_seconds(built, run.threads, VERIFY_WEIGHTS),
    }
    try:
        record["memory"] = memory_of_run(built, checkpoint, dtype, task, run.threads)
    except Exception as error:
        logging.error(traceback.format_exc())
        record["memory_failure"] = reason(error)
    return built, record


# ---- runs ----


def open_models(run, checkpoints, builds, dtype):
    """({contender: its model}, {contender: reason of failure})"""
    from contenders.published_model import PublishedModel
    from contenders.whole_models import OurModel

    models, failures = {}, {}
    for name, (label, checkpoint, compiled) in CONTENDERS.items():
        try:
            if compiled:
                if isinstance(builds[checkpoint], Exception):
                    raise builds[checkpoint]
                models[name] = OurModel(builds[checkpoint], run.threads)
            else:
                models[name] = PublishedModel(checkpoints[checkpoint], dtype)
        except Exception as error:  # a contender's failure is a result
            failures[name] = reason(error)
            say(f"  {label}: {failures[name]}")
    return models, failures


def measure_task(task, dtype, models, failures, references, inputs, plan):
    from contenders.whole_models import OurRuns, PublishedRuns

    runners, records, failures = {}, {}, dict(failures)
    for name, model in models.items():
        label, checkpoint, compiled = CONTENDERS[name]
        try:
            config = references.configs[checkpoint]
            runner = OurRuns(model, task, inputs, config["vocab_size"], config["d_model"]) if compiled else PublishedRuns(model, task, inputs)
            is_reference = not compiled and dtype == "f32"
            records[name] = {} if is_reference else references.compare(checkpoint, task, dtype, runner.result(0, 0))
            runners[name] = runner
        except Exception as error:
            failures[name] = reason(error)
            logging.error(traceback.format_exc())
            say(f"  {label}: {failures[name]}")
    enough = {name: plan.published_seconds or math.inf for name in runners if not CONTENDERS[name][2]}
    times, failed = measure(runners, 1, INPUTS, plan.pace, enough)
    failures.update(failed)
    for name, t in times.items():
        records[name] |= {"median_seconds": t.median, "fastest_seconds": t.fastest, "runs": sum(map(len, t.turns))}
        for reference in ("ours_moe", "ours_hypermoe"):
            if reference in times:
                records[name][f"ratio_to_{reference}"] = t.ratio_to(times[reference])
    measured = {name: record for name, record in records.items() if "median_seconds" in record}
    say(f"{dtype} {task.name}: " + ", ".join(f"{CONTENDERS[n][0]} {r['median_seconds']:.3f} s" for n, r in measured.items()))
    return {"task": task.name, "tokens": task.tokens, "contenders": measured, "failures": failures}


def measure_dtype(run, about, checkpoints, plan, inputs, references, keep):
    dtype = about["dtype"]
    needed = 2.5 * sum(f.stat().st_size for c in checkpoints.values() for f in c.glob("*.safetensors")) * (0.5 if dtype == "bf16" else 1)
    if machine.available_bytes() < needed:
        raise RuntimeError(f"too little memory: {1e-9 * needed:.0f} GB are needed")
    builds = {}
    for name, checkpoint in checkpoints.items():
        start = time.perf_counter()
        try:
            builds[name], record = build(run, checkpoint, name, dtype, plan.tasks[0])
            keep("model_builds", record)
        except Exception as error:
            logging.error(traceback.format_exc())
            builds[name] = error
        say(f"{dtype} {name} built: {time.perf_counter() - start:.0f} s")
    models, failures = open_models(run, checkpoints, builds, dtype)
    about |= {"code_version": next((model.cpu for name, model in models.items() if CONTENDERS[name][2]), None)}
    try:
        for task in plan.tasks:
            keep("models", {**about, **measure_task(task, dtype, models, failures, references, inputs[task.name], plan)})
    finally:
        for name, model in models.items():
            if CONTENDERS[name][2]:
                model.close()
        for built in builds.values():
            if not isinstance(built, Exception):
                built.packed.unlink()


def measure_all(run, options, plan, checkpoints, keep):
    configs = {name: json.loads((folder / "config.json").read_text(encoding="utf-8")) for name, folder in checkpoints.items()}
    inputs = {task.name: make_inputs(task, configs["moe"]["vocab_size"]) for task in plan.tasks}
    references = References(checkpoints, plan.tasks, inputs)
    references.configs = configs
    for dtype in options.dtypes:
        about = {"model": plan.model, "dtype": dtype}
        try:
            measure_dtype(run, about, checkpoints, plan, inputs, references, keep)
        except Exception as error:
            logging.error(traceback.format_exc())
            keep("models", {**about, "failure": reason(error)})
            say(f"  models {dtype}: {reason(error)}")
        gc.collect()


def measure_models(run, options, keep):
    import torch

    torch.set_num_threads(run.threads)
    plan = make_plan(options)
    keep("model_plans", {"pace": asdict(plan.pace), "published_seconds": plan.published_seconds})
    keep("model_checks", check_published())
    folder, start = Path(run.folder) / "models", time.perf_counter()
    try:
        checkpoints = write_checkpoints(folder, plan.dims)
        say(f"checkpoints written: {time.perf_counter() - start:.0f} s")
        measure_all(run, options, plan, checkpoints, keep)
    finally:
        for file in folder.glob("*/*.safetensors"):
            file.unlink()
