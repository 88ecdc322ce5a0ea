"""Puts the numbers of main.py into a report, between its two markers, and draws the figures.   report.py NUMBERS.json REPORT.md FIGURES"""

import sys
from pathlib import Path

import figures
import results
from contenders import BEST_OF, BY_NAME, ROWS
from models import CONTENDERS as MODEL_CONTENDERS
from targets import Numbers, targets

PART_LABELS = {"layers": "layers", "sweeps": "tables of one changing dim, and the stack", "models": "whole models"}
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def table(head, rows):
    yield "| " + " | ".join(head) + " |\n"
    yield "| " + " | ".join("---:" if i else "---" for i in range(len(head))) + " |\n"
    for row in rows:
        yield "| " + " | ".join(row) + " |\n"
    yield "\n"


def section(title, head, rows):
    """Nothing if there are no rows."""
    if rows:
        yield f"### {title}\n\n"
        yield from table(head, rows)


def milliseconds(record):
    return f"{1e3 * record['median_seconds']:.3f}" if record else "–"


def times(record, key="ratio_to_ours_moe"):
    return f"{record[key]:.2f}x" if record and key in record else "–"


def bytes_of(count):
    return f"{1e-6 * count:.1f} MB" if count >= 1e6 else f"{1e-3 * count:.0f} kB"


def percent(share):
    return "–" if share is None else f"{100 * share:.1f} %"


def with_what(run):
    """What a run was measured with, as lines."""
    m, c, threads = run["machine"], run["ceilings"], run["threads"]
    caches = ", ".join(f"{name} {size >> 10} KiB" for name, size in m["caches"])
    yield f"- Machine: {m['processor']}, {threads} thread{'s' if threads != 1 else ''}, {caches}; {m['system']}.\n"
    yield f"- Measured on {run['date']}; load of the machine before the run: {m['load_before']:.2f}.\n"
    versions = ", ".join(f"{package} {version or 'missing'}" for package, version in m["packages"].items())
    yield f"- hmoec {m['hmoec']}; peers: {versions}.\n"
    bf16 = f"{c['bf16_gflops']:.0f} GFLOP/s in bf16 ({c['bf16_instruction']})" if c["bf16_gflops"] else "no bf16 products"
    reads = f"{c['read_gigabytes_per_second']:.1f} GB/s of reads from memory"
    yield f"- Ceilings, measured in the same process: {c['f32_gflops']:.0f} GFLOP/s in f32, {bf16}, {reads}.\n"


def head(report):
    """Of the first part and of those that were measured in the same run."""
    first = next(iter(report["runs"].values()))
    yield from with_what(first)
    others = [f"{PART_LABELS[part]} ({run['date']}, hmoec {run['machine']['hmoec']})" for part, run in report["runs"].items() if run != first]
    if others:
        yield f"- Of other runs: {', '.join(others)}. What differs there stands with their tables.\n"
    s = first["shape"]
    if report["runs"].keys() == {"models"}:
        yield "\n"
        return
    yield f"- Layer: d_model {s['d_model']}, d_ff {s['d_ff']}, {s['experts']} experts, top-1, relu; HyperMoE with bottleneck {s['bottleneck']}.\n\n"


def of_another_run(report, part):
    """Where a part is of another run than the first: in what that differs."""
    first, run = next(iter(report["runs"].values())), report["runs"][part]
    if run != first:
        known = set(with_what(first))
        yield f"Another run ({PART_LABELS[part]}):\n\n"
        yield from (line for line in with_what(run) if line not in known)
        yield "\n"


def target_rows(report):
    for t in targets(report):
        text = (lambda v: f"{100 * v:.0f} %") if t.percent else (lambda v: f"{v:.2f}x")
        value = "–" if t.value is None else percent(t.value) if t.percent else f"{t.value:.2f}x"
        yield [t.what, value, text(t.least), text(t.aim) if t.aim else "", t.verdict]


def cases_of(report, dtype):
    return [case for case in report.get("layers", []) if case["dtype"] == dtype]


def layer_tables(report, dtype):
    cases, numbers = cases_of(report, dtype), Numbers(report)
    if not any(case["contenders"] for case in cases):
        return
    names = [row.name for row in ROWS if any(row.name in case["contenders"] for case in cases)]
    yield f"### {dtype}\n\nTime of a run in ms:\n\n"
    yield from table(
        ["tokens", *(BY_NAME[name].label for name in names)],
        ([str(case["tokens"]), *(milliseconds(case["contenders"].get(name)) for name in names)] for case in cases),
    )
    peers = [name for name in names if BY_NAME[name].computes != "hypermoe" and name != "ours_moe"]

    def best(case):
        name, ratio = numbers.best_peer(dtype, case["tokens"])
        return f"{ratio:.2f}x ({BY_NAME[name].label})" if name else "–"

    yield "How many times faster hmoec's MoE is:\n\n"
    yield from table(
        ["tokens", f"than the best of {' and '.join(BY_NAME[name].label for name in BEST_OF)}", *(BY_NAME[name].label for name in peers)],
        ([str(case["tokens"]), best(case), *(times(case["contenders"].get(name)) for name in peers)] for case in cases),
    )
    shape, ceilings = numbers.run("layers")["shape"], numbers.run("layers")["ceilings"]
    rows = []
    for case in cases:
        record = case["contenders"].get("ours_moe")
        if record:
            weights = case["experts_read"] * 2 * shape["d_model"] * shape["d_ff"] * {"f32": 4, "bf16": 2}[dtype]
            share, rate = numbers.share_of_peak(dtype, case["tokens"]), 1e-9 * weights / record["median_seconds"]
            rows.append(
                [str(case["tokens"]), str(case["experts_read"]), f"{share * numbers.ceiling(dtype):.1f}", percent(share),
                 f"{rate:.1f}", percent(rate / ceilings["read_gigabytes_per_second"]), f"{record['difference']:.0e}"]  # fmt: skip
            )
    if rows:
        yield f"hmoec's MoE ({next(c['code_version'] for c in cases if c['code_version'])} code) against the ceilings:\n\n"
        yield from table(["tokens", "experts read", "GFLOP/s", "of the peak", "GB/s of weights", "of the peak", "difference to the reference"], rows)


def failures(report):
    found = {}
    for case in report.get("layers", []):
        for name, why in case["failures"].items():
            found.setdefault((name, case["dtype"], why), []).append(str(case["tokens"]))
    for name in ("bottlenecks", "experts", "top_ks", "stacks"):
        for sweep in report.get(name, []):
            if "failure" in sweep:
                yield f"- {name}, {sweep['dtype']}: {sweep['failure']}\n"
    for (name, dtype, why), tokens in found.items():
        yield f"- {BY_NAME[name].label}, {dtype}, {', '.join(tokens)} tokens: {why}\n"


def hypermoe_table(report):
    numbers, rows = Numbers(report), []
    for case in report.get("layers", []):
        c, tokens = case["contenders"], case["tokens"]
        ours, hyper, published = c.get("ours_moe"), c.get("ours_hypermoe"), c.get("published_hypermoe")
        if ours and hyper:
            rate = [f"{1 / record['median_seconds']:,.1f}" if record else "–" for record in (ours, hyper, published)]
            share = percent(numbers.hypermoe_throughput(case["dtype"], tokens))
            rows.append([case["dtype"], str(tokens), rate[0], rate[1], share, rate[2], times(published, "ratio_to_ours_hypermoe")])
    head = ["dtype", "tokens a sample", "MoE, samples a second", "HyperMoE, samples a second", "HyperMoE's throughput of MoE's",
            "HyperMoE as published, samples a second", "ours is faster by"]  # fmt: skip
    return section("MoE and HyperMoE (the paper's Table 4, in kind)", head, rows)


def sweep_table(report, title, name, dim, head, row):
    """A row for each value of the dim; after it, what `row` says of the point."""
    rows = []
    for sweep in report.get(name, []):
        for p in sorted(sweep.get("points", []), key=lambda p: p[dim]):
            cells = row(p) if "median_seconds" in p else [p["failure"], *[""] * (len(head) - 1)]
            rows.append([sweep["dtype"], str(p[dim]), *cells])
    return section(title, ["dtype", dim, *head], rows)


def built(p):
    return [f"{p['compile_seconds']:.2f} s", bytes_of(p["object_bytes"])]


def stack_tables(report):
    peak, runs, opens = report["runs"]["sweeps"]["ceilings"]["read_gigabytes_per_second"], [], []
    for s in report.get("stacks", []):
        if "points" not in s:
            continue
        opens.append([s["dtype"], str(s["layers"]), bytes_of(s["packed_bytes"]), f"{s['pack_seconds']:.1f} s", f"{1e3 * s['open_seconds']:.1f} ms",
                      f"{1e3 * s['open_verifying_seconds']:.0f} ms", *built(s)])  # fmt: skip
        for p in s["points"]:
            rate = p["gigabytes_per_second"]
            runs.append([s["dtype"], str(p["tokens"]), f"{p['experts_read']:.1f}", bytes_of(p["bytes_read"]), f"{1e3 * p['median_seconds']:.3f} ms",
                         f"{rate:.1f}", percent(p["share_of_reader"]), percent(rate / peak)])  # fmt: skip
    yield from section(
        "A stack of layers, weights cold",
        ["dtype", "tokens", "experts read", "bytes", "time", "GB/s", "of a loop that only reads", "of the peak"],
        runs,
    )
    yield from section(
        "Opening the packed weights of the stack",
        ["dtype", "layers", "size", "made in", "opens in", "with the checksum verified", "compile time", "object"],
        opens,
    )


def seconds(record):
    return f"{record['median_seconds']:.3f} s" if record else "–"


def model_run_tables(report):
    cases, numbers = [c for c in report.get("models", []) if "task" in c], Numbers(report)
    names = [name for name in MODEL_CONTENDERS if any(name in c["contenders"] for c in cases)]

    def rate(case, name):
        record = case["contenders"].get(name)
        return f"{case['tokens'] / record['median_seconds']:,.1f}" if record else "–"

    yield from section(
        "Whole models: time of a run",
        ["dtype", "task", *(MODEL_CONTENDERS[name][0] for name in names), "ours is faster than the published by", "than MoE in PyTorch by",
         "HyperMoE's throughput of MoE's"],
        [[c["dtype"], c["task"], *(seconds(c["contenders"].get(name)) for name in names),
          times(c["contenders"].get("published_hypermoe"), "ratio_to_ours_hypermoe"), times(c["contenders"].get("published_moe")),
          percent(numbers.whole_hypermoe_throughput(c["dtype"], c["task"]))] for c in cases if c["contenders"]],
    )  # fmt: skip
    yield from section(
        "Whole models: tokens a second",
        ["dtype", "task", *(MODEL_CONTENDERS[name][0] for name in names)],
        [[c["dtype"], c["task"], *(rate(c, name) for name in names)] for c in cases if c["contenders"]],
    )

    def apart(record):
        if not record:
            return "–"
        if "equal_tokens" not in record and "typical_difference" not in record:
            return "is the reference"
        if "equal_tokens" in record:
            return f"{percent(record['equal_tokens'])} of the tokens are equal"
        return f"{record['typical_difference']:.0e}; {percent(record['close_tokens'])} of the tokens close"

    yield from section(
        "Whole models: against the published algorithm in f32",
        ["dtype", "task", *(MODEL_CONTENDERS[name][0] for name in names)],
        [[c["dtype"], c["task"], *(apart(c["contenders"].get(name)) for name in names)] for c in cases if c["contenders"]],
    )


def model_build_tables(report):
    builds, memory = [], []
    for b in report.get("model_builds", []):
        builds.append([b["dtype"], b["model"], f"{b['compile_seconds']:.1f} s", bytes_of(b["compile_peak_bytes"]), bytes_of(b["object_bytes"]),
                       f"{b['pack_seconds']:.1f} s", bytes_of(b["pack_peak_bytes"]), bytes_of(b["checkpoint_bytes"]), bytes_of(b["packed_bytes"]),
                       f"{1e3 * b['open_seconds']:.1f} ms", f"{1e3 * b['open_verifying_seconds']:.0f} ms"])  # fmt: skip
        if "memory" in b:
            m = b["memory"]
            explained = [bytes_of(m["explained"][name]) if name in m["explained"] else "–" for name in ("weight_bytes", "workspace_bytes")]
            held = bytes_of(m["peak_bytes"] - m["caller_bytes"])
            memory.append([b["dtype"], b["model"], m["task"], bytes_of(m["weight_bytes"]), explained[0], bytes_of(m["workspace_bytes"]),
                           explained[1], held])  # fmt: skip
    yield from section(
        "Whole models: compiling, packing and opening",
        ["dtype", "model", "compile time", "memory", "object", "packing", "memory", "checkpoint", "packed", "opens in", "with the checksum verified"],
        builds,
    )
    yield from section(
        "Whole models: memory of a run",
        ["dtype", "model", "task", "weights", "explain says", "workspace", "explain says", "resident at most, without inputs and outputs"],
        memory,
    )


def model_failures(report):
    for case in report.get("models", []):
        if "failure" in case:
            yield f"- whole models, {case['dtype']}: {case['failure']}\n"
        for name, why in case.get("failures", {}).items():
            yield f"- {MODEL_CONTENDERS[name][0]}, {case['dtype']}, {case['task']}: {why}\n"
    for build in report.get("model_builds", []):
        if "memory_failure" in build:
            yield f"- memory of a run, {build['model']}, {build['dtype']}: {build['memory_failure']}\n"


def model_sections(report):
    yield f"### Whole models: {report['models'][0]['model']}\n\n"
    yield from of_another_run(report, "models")
    for plan in report.get("model_plans", []):
        pace, enough = plan["pace"], plan["published_seconds"]
        fewer = f"; the models in PyTorch take no more turns after {enough} seconds of runs" if enough else ""
        yield f"{pace['turns']} turns of {pace['turn_seconds']:g} seconds, at least one run each{fewer}.\n\n"
    for check in report.get("model_checks", []):
        rows = [[name, f"{r['logits']:.0e}", f"{r['encoder_hidden']:.0e}", percent(r["greedy_equal"])] for name, r in check.items()]
        yield "The published algorithm, as it is timed here, against outputs of its implementation (small models, f32):\n\n"
        yield from table(["model", "logits differ by", "encoder's output by", "greedy tokens that are equal"], rows)
    failed = list(model_failures(report))
    if failed:
        yield "Left out or failed:\n\n"
        yield from failed
        yield "\n"
    yield from model_run_tables(report)
    yield from model_build_tables(report)


def sections(report):
    yield from head(report)
    if report.get("layers"):
        yield "![Roofline](figures/roofline.svg)\n\n![Speed of the peers](figures/peers.svg)\n\n"
    yield "### Targets\n\n"
    yield from table(["", "measured", "at least", "aim", ""], target_rows(report))
    for dtype in ("f32", "bf16"):
        yield from layer_tables(report, dtype)
    failed = list(failures(report))
    if failed:
        yield "Left out or failed:\n\n"
        yield from failed
        yield "\n"
    yield from hypermoe_table(report)
    if "sweeps" in report["runs"]:
        yield from sweep_sections(report)
    if report.get("models"):
        yield from model_sections(report)


def sweep_sections(report):
    yield from of_another_run(report, "sweeps")
    yield from sweep_table(
        report, "Bottleneck of the HyperExpert, 512 tokens", "bottlenecks", "bottleneck",
        ["HyperMoE", "time of MoE's", "weights", "compile time", "object"],
        lambda p: [f"{1e3 * p['median_seconds']:.2f} ms", f"{p['ratio_to_reference']:.3f}x", bytes_of(p["weight_bytes"]), *built(p)],
    )  # fmt: skip
    peak = report["runs"]["sweeps"]["ceilings"]["read_gigabytes_per_second"]
    yield from sweep_table(
        report, "Number of experts, 512 tokens", "experts", "experts",
        ["MoE", "time of 8 experts'", "bytes that must be read", "which takes at least", "compile time", "object"],
        lambda p: [f"{1e3 * p['median_seconds']:.2f} ms", f"{p['ratio_to_reference']:.2f}x", bytes_of(p["bytes_read"]),
                   f"{1e-6 * p['bytes_read'] / peak:.2f} ms", *built(p)],
    )  # fmt: skip
    yield from sweep_table(
        report, "Experts a token, 512 tokens", "top_ks", "top_k", ["MoE", "time of top-1's", "GFLOP/s", "compile time", "object"],
        lambda p: [f"{1e3 * p['median_seconds']:.2f} ms", f"{p['ratio_to_reference']:.2f}x", f"{p['gflops']:.0f}", *built(p)],
    )  # fmt: skip
    yield from stack_tables(report)


def main():
    numbers_path, report_path, figures_path = map(Path, sys.argv[1:])
    report = results.flat(results.read(numbers_path))
    before, rest = report_path.read_text(encoding="utf-8").split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    report_path.write_text(before + BEGIN + "".join(sections(report)).rstrip("\n") + "\n" + END + after, encoding="utf-8")
    figures_path.mkdir(parents=True, exist_ok=True)
    if report.get("layers"):
        (figures_path / "roofline.svg").write_text(figures.roofline(report), encoding="utf-8")
        (figures_path / "peers.svg").write_text(figures.peers(report), encoding="utf-8")


main()
