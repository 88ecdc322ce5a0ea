"""What changes with one dim: the bottleneck, the number of experts, top_k. And a stack of layers with cold weights, and how long packed
weights take to open. All of ours; each point is measured by turns with a layer of the usual size."""

import shutil
import time
from dataclasses import replace

import numpy as np

import machine
from big_weights import BigWeights
from ceilings import Reader
from contenders.ours import VERIFY_WEIGHTS, Model
from native import HMOEC, ROOT, command
from turns import measure
from workload import INPUTS, Shape, Workload, even_draws, uniform


class ModelRuns:
    """A model and its inputs."""

    def __init__(self, built, weights, threads, inputs):
        self.model = Model(built, weights, threads)
        self.inputs, self.y = inputs, np.empty_like(inputs[0])
        self.arguments = [self.model.arguments(x, self.y) for x in inputs]

    def run(self, layer, index):
        self.model.run(self.arguments[index])

    def close(self):
        self.model.close()


def shuffled(draws):
    """The tokens of even_draws in a random order."""
    xs = [np.concatenate([rows for _, rows in groups]) for groups in draws]
    return [np.ascontiguousarray(x[np.random.default_rng(i).permutation(len(x))]) for i, x in enumerate(xs)]


def by_turns(runners, inputs, pace):
    times, failures = measure(runners, 1, inputs, pace)
    if failures:
        raise RuntimeError("; ".join(failures.values()))
    return times


def point(built, model, times, against, **values):
    return {
        **values,
        "median_seconds": times.median,
        "ratio_to_reference": times.ratio_to(against),
        "compile_seconds": built.compile_seconds,
        "object_bytes": built.object_bytes,
        "weight_bytes": model.weight_bytes,
    }


def bottlenecks(run, dtype, tokens, values):
    """HyperMoE of several bottlenecks against MoE."""
    points, shape = [], Shape()
    for bottleneck in values:
        s = replace(shape, bottleneck=bottleneck)
        workload = Workload(s, 1, run.folder / f"bottleneck-{bottleneck}")
        xs = [i.x for i in workload.inputs(tokens)]
        built = run.native.layer("hypermoe_layer", dtype, s)
        moe = ModelRuns(run.native.layer("moe_layer", dtype, s), workload.files[0], run.threads, xs)
        hyper = ModelRuns(built, workload.files[0], run.threads, xs)
        times = by_turns({"moe": moe, "hyper": hyper}, INPUTS, run.pace)
        points.append(point(built, hyper.model, times["hyper"], times["moe"], bottleneck=bottleneck, moe_seconds=times["moe"].median))
        moe.close()
        hyper.close()
        shutil.rmtree(workload.folder)
    return {"tokens": tokens, "dtype": dtype, "points": points}


def experts(run, dtype, tokens, values):
    """MoE of several numbers of experts against one of 8, as many tokens for each expert."""
    points, usual = [], Shape()
    reference_weights = BigWeights(usual)
    reference_path = reference_weights.write(run.folder / "experts-reference.safetensors")
    draws = even_draws(reference_weights.routers[0], tokens, INPUTS, 1)
    reference = ModelRuns(run.native.layer("moe_layer", dtype, usual), reference_path, run.threads, shuffled(draws))
    for count in values:
        s = replace(usual, experts=count)
        row = {"experts": count, "bytes_read": count * s.expert_bytes(dtype)}
        if machine.available_bytes() < 2.5 * row["bytes_read"]:
            points.append({**row, "failure": "too little memory"})
            continue
        weights = BigWeights(s)
        path = weights.write(run.folder / "experts.safetensors")
        built = run.native.layer("moe_layer", dtype, s)
        runs = ModelRuns(built, path, run.threads, shuffled(even_draws(weights.routers[0], tokens, INPUTS, 1)))
        path.unlink()
        times = by_turns({"reference": reference, "runs": runs}, INPUTS, run.pace)
        points.append(point(built, runs.model, times["runs"], times["reference"], reference_seconds=times["reference"].median, **row))
        runs.close()
    reference.close()
    reference_path.unlink()
    return {"tokens": tokens, "dtype": dtype, "points": points}


def top_ks(run, dtype, tokens, values):
    """MoE with several experts a token against one. Tokens are random: with top_k above 1 their spread is about even."""
    points, shape = [], Shape()
    weights = BigWeights(shape)
    path = weights.write(run.folder / "top_k.safetensors")
    generator = np.random.default_rng(1)
    xs = [uniform(generator, (tokens, shape.d_model), 1) for _ in range(INPUTS)]
    reference = ModelRuns(run.native.layer("moe_layer", dtype, shape), path, run.threads, xs)
    for top_k in values:
        built = run.native.layer("moe_layer", dtype, shape, [("top_k", top_k)])
        runs = ModelRuns(built, path, run.threads, xs)
        times = by_turns({"reference": reference, "runs": runs}, INPUTS, run.pace)
        row = {"top_k": top_k, "gflops": 1e-9 * top_k * shape.flops(tokens) / times["runs"].median}
        points.append(point(built, runs.model, times["runs"], times["reference"], **row))
        runs.close()
    reference.close()
    path.unlink()
    return {"tokens": tokens, "dtype": dtype, "points": points}


def open_seconds(built, path, threads, flags, times=5):
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        model = Model(built, path, threads, flags)
        seconds.append(time.perf_counter() - start)
        model.close()
    return sorted(seconds)[times // 2]


def stack(run, dtype, layers, tokens):
    """A stack of MoE layers: opened from .hmw, then run at few tokens, so that nearly all the time goes into reading weights."""
    shape = Shape()
    weights = BigWeights(shape, layers, scoped=True)
    source, packed = run.folder / "stack.safetensors", run.folder / f"stack-{dtype}.hmw"
    spec = ROOT / "bench" / "moe-stack.spec"
    built = run.native.model(spec, "moe_stack", dtype, [("layers", layers)])
    weights.write(source)
    start = time.perf_counter()
    command(HMOEC, "pack", spec, "--weights", source, "-o", packed, "-D", f"layers={layers}", "--threads", run.threads,
            *(["--dtype", dtype] if dtype != "f32" else []))  # fmt: skip
    result = {
        "dtype": dtype,
        "layers": layers,
        "packed_bytes": packed.stat().st_size,
        "object_bytes": built.object_bytes,
        "compile_seconds": built.compile_seconds,
        "pack_seconds": time.perf_counter() - start,
        "open_seconds": open_seconds(built, packed, run.threads, 0),
        "open_verifying_seconds": open_seconds(built, packed, run.threads, VERIFY_WEIGHTS),
        "points": [],
    }
    source.unlink()
    generator = np.random.default_rng(2)
    for count in tokens:
        xs = [uniform(generator, (count, shape.d_model), 1) for _ in range(INPUTS)]
        used = [weights.experts_read(x) for x in xs]
        runs = ModelRuns(built, packed, run.threads, xs)
        bytes_read = float(np.mean(used)) * shape.expert_bytes(dtype)
        reader = Reader(run.native, run.threads, int(bytes_read))
        by_name = by_turns({"runs": runs, "reader": reader}, INPUTS, run.pace)
        times, share = by_name["runs"], by_name["reader"].ratio_to(by_name["runs"])
        runs.close()
        reader.close()
        result["points"].append(
            {"tokens": count, "experts_read": float(np.mean(used)), "bytes_read": bytes_read, "median_seconds": times.median,
             "gigabytes_per_second": 1e-9 * bytes_read / times.median, "share_of_reader": share}  # fmt: skip
        )
    packed.unlink()
    return result
