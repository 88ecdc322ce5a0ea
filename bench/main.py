"""Measures everything of docs/performance.md in one process and writes it as JSON. bench/run.sh sets up what this needs.

main.py --json FILE [--threads N] [--tokens LIST] [--dtypes LIST] [--parts LIST] [--quick] [--short] [--model-dims LIST]"""

import argparse
import gc
import logging
import os
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
import models
import results
import sweeps
from ceilings import Ceilings
from contenders import BY_NAME, QUICK, ROWS
from native import ROOT, Native
from turns import Pace, measure
from workload import INPUTS, Input, Shape, Workload, difference

TOLERANCE = {"f32": 2e-4, "bf16": 4e-2}  # largest difference to the reference, relative to its largest value
CACHES = 4  # the weights that runs go through are so many times the last-level cache


def say(text):
    print(text, file=sys.stderr, flush=True)


@dataclass
class Run:
    """What all parts share."""

    native: Native
    folder: Path
    threads: int
    pace: Pace


@dataclass
class Case:
    dtype: str
    tokens: int
    threads: int
    workload: Workload
    inputs: list[Input]
    native: Native

    def expected(self, computes):
        """Result of input 0 with layer 0."""
        i = self.inputs[0]
        if computes == "hypermoe":
            from contenders.published_hypermoe import reference

            return reference(i, 0)
        experts = i.expected(0)
        return experts * i.gates()[:, None] if computes == "moe" else experts


def layers_needed(shape, dtype):
    """As many that their weights exceed the last-level cache CACHES times; bounded by memory, which holds them once a contender."""
    cache, layer = machine.caches()[-1][1], shape.experts * shape.expert_bytes(dtype)
    needed = -(-CACHES * cache // layer)
    return max(1, min(needed, machine.available_bytes() // (2 * len(ROWS) * shape.experts * shape.expert_bytes("f32"))))


def reason(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def set_up(rows, case):
    """Makes the contenders and checks each on one input. Returns ({name: contender}, {name: record}, {name: reason of failure})."""
    runners, records, failures, expected = {}, {}, {}, {}
    for row in rows:
        if case.dtype not in row.dtypes:
            failures[row.name] = row.why_not
            continue
        if row.computes not in expected:
            expected[row.computes] = case.expected(row.computes)
        start = time.perf_counter()
        try:
            runner = row.make(case)
            seconds = time.perf_counter() - start
            apart = difference(runner.result(0, 0), expected[row.computes])
            if not apart < TOLERANCE[case.dtype]:
                raise RuntimeError(f"wrong result: differs from the reference by {apart:.1e}")
        except Exception as error:  # a contender's failure is a result
            failures[row.name] = reason(error)
            logging.error(traceback.format_exc())
            say(f"  {row.label}: {failures[row.name]}")
            continue
        runners[row.name] = runner
        records[row.name] = {"set_up_seconds": seconds, "difference": apart}
    return runners, records, failures


def measure_case(case, rows, pace):
    runners, records, failures = set_up(rows, case)
    times, failed = measure(runners, len(case.workload.layers), INPUTS, pace)
    failures.update(failed)
    for name, t in times.items():
        records[name] |= {"median_seconds": t.median, "fastest_seconds": t.fastest, "runs": sum(map(len, t.turns))}
        for reference in ("ours_moe", "ours_hypermoe"):
            if reference in times:
                records[name][f"ratio_to_{reference}"] = t.ratio_to(times[reference])
    cpu = runners["ours_moe"].cpu if "ours_moe" in runners else None
    for runner in runners.values():
        runner.close()
    result = {
        "dtype": case.dtype,
        "tokens": case.tokens,
        "layers": len(case.workload.layers),
        "experts_read": case.inputs[0].experts_read,
        "code_version": cpu,
        "contenders": {name: record for name, record in records.items() if "median_seconds" in record},
        "failures": failures,
    }
    ordered = sorted(result["contenders"].items(), key=lambda item: item[1]["median_seconds"])
    say(f"{case.dtype} {case.tokens:5d} tokens: " + ", ".join(f"{BY_NAME[n].label} {1e3 * r['median_seconds']:.3f} ms" for n, r in ordered))
    return result


def measure_layers(run, options, keep):
    """The contenders, for every dtype and number of tokens."""
    shape = Shape()
    rows = [row for row in ROWS if not options.quick or row.name in QUICK]
    for dtype in options.dtypes:
        workload = Workload(shape, layers_needed(shape, dtype), run.folder / f"layers-{dtype}")
        for tokens in options.tokens:
            case = Case(dtype, tokens, run.threads, workload, workload.inputs(tokens), run.native)
            keep("layers", measure_case(case, rows, run.pace))
            del case
            gc.collect()


def sweep_list(quick):
    """(name, function, arguments) for one dtype."""
    few = slice(0, 2) if quick else slice(None)
    return [
        ("bottlenecks", sweeps.bottlenecks, (512, (64, 8, 16, 24, 32, 40, 128)[few])),
        ("experts", sweeps.experts, (512, (8, 16, 4, 32, 64, 128, 256)[few])),
        ("top_ks", sweeps.top_ks, (512, (1, 2, 4)[few])),
        ("stacks", sweeps.stack, (2 if quick else 12, (1, 8))),
    ]


def measure_sweeps(run, options, keep):
    for dtype in options.dtypes:
        for name, function, arguments in sweep_list(options.quick):
            start = time.perf_counter()
            try:
                keep(name, function(run, dtype, *arguments))
            except Exception as error:
                logging.error(traceback.format_exc())
                keep(name, {"dtype": dtype, "failure": reason(error)})
                say(f"  {name} {dtype}: {reason(error)}")
            say(f"{dtype} {name}: {time.perf_counter() - start:.0f} s")
            gc.collect()


PARTS = dict(zip(results.PARTS, (measure_layers, measure_sweeps, models.measure_models)))


def parse_arguments():
    def words(text):
        return text.replace(",", " ").split()

    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokens", type=lambda text: [int(word) for word in words(text)])
    parser.add_argument("--dtypes", type=words, default=["f32", "bf16"])
    parser.add_argument("--parts", type=words, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small models, few sizes")
    parser.add_argument("--short", action="store_true", help="whole models: fewer turns and tokens")
    parser.add_argument("--model-dims", type=words, default=[], help="whole models: dims of write_checkpoint.py, as layers=2 d-model=64")
    options = parser.parse_args()
    if not options.tokens:
        options.tokens = [8, 512] if options.quick else [1, 8, 64, 512, 2048, 4096]
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"unknown part '{part}': expected {', '.join(PARTS)}")
    return options


def main():
    options = parse_arguments()
    pace = Pace(turns=3, turn_seconds=0.1) if options.quick else Pace()
    options.folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=options.folder / "failures.log", filemode="w", level=logging.WARNING)
    run = Run(Native(options.folder / "native"), options.folder / "weights", options.threads, pace)
    about = {"date": time.strftime("%Y-%m-%d"), "machine": machine.describe(ROOT), "threads": options.threads, "pace": asdict(pace),
             "shape": asdict(Shape())}  # fmt: skip
    numbers = {"finished": [], "parts": {}}
    ceilings = Ceilings(run.native, options.threads)

    def write():
        about["ceilings"] = ceilings.values
        results.write(options.json, numbers)

    ceilings.measure()
    for part in options.parts:
        values = numbers["parts"][part] = {"run": about}

        def keep(name, value, values=values):
            values.setdefault(name, []).append(value)
            write()

        PARTS[part](run, options, keep)
        ceilings.measure()
        numbers["finished"].append(part)
        write()


main()
