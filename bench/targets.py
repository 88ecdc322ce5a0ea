"""What the compiled layers are meant to reach, as rows: what, the measured value, what it must be at least, what it should be."""

from dataclasses import dataclass

from contenders import BEST_OF

# Against the best of torch.compile and OpenVINO, by dtype and tokens: at least, aim.
PEERS = {
    "f32": {1: (0.95, 1.05), 8: (0.95, 1.05), 64: (0.95, 1.05), 512: (1.0, 1.1), 4096: (1.0, 1.1)},
    "bf16": {1: (0.95, 1.05), 8: (0.95, 1.05), 64: (0.95, 1.05), 512: (1.15, 1.5), 4096: (1.3, 1.8)},
}

PUBLISHED_MODEL = {"f32": 2.0, "bf16": 5.0}  # whole models with HyperMoE against the published algorithm: at least


@dataclass(frozen=True)
class Target:
    what: str
    value: float | None  # None: not measured
    least: float
    aim: float | None = None
    percent: bool = False

    @property
    def verdict(self):
        if self.value is None:
            return "not measured"
        if self.value < self.least:
            return "**not reached**"
        return "reached" if self.aim is None or self.value >= self.aim else "reached, below the aim"


class Numbers:
    """Look-ups in the JSON. What is not there is None."""

    def __init__(self, report):
        self.report = report

    def run(self, part):
        """With what a part was measured."""
        return self.report["runs"].get(part) or next(iter(self.report["runs"].values()))

    def case(self, dtype, tokens):
        return next((c for c in self.report.get("layers", []) if c["dtype"] == dtype and c["tokens"] == tokens), None)

    def record(self, dtype, tokens, name):
        case = self.case(dtype, tokens)
        return case["contenders"].get(name) if case else None

    def sweep(self, name, dtype):
        return next((s for s in self.report.get(name, []) if s["dtype"] == dtype and "points" in s), None)

    def ceiling(self, dtype):
        """GFLOP/s; of f32 where the CPU has no bf16 products."""
        ceilings = self.run("layers")["ceilings"]
        return ceilings[f"{dtype}_gflops"] or ceilings["f32_gflops"]

    def best_peer(self, dtype, tokens):
        """(name, how much longer it takes than ours)"""
        records = {name: self.record(dtype, tokens, name) for name in BEST_OF}
        ratios = [(r["ratio_to_ours_moe"], name) for name, r in records.items() if r and "ratio_to_ours_moe" in r]
        return min(ratios)[::-1] if ratios else (None, None)

    def hypermoe_throughput(self, dtype, tokens):
        """HyperMoE's throughput as a share of MoE's."""
        record = self.record(dtype, tokens, "ours_hypermoe")
        return 1 / record["ratio_to_ours_moe"] if record and "ratio_to_ours_moe" in record else None

    def share_of_peak(self, dtype, tokens):
        record = self.record(dtype, tokens, "ours_moe")
        if not record:
            return None
        shape = self.run("layers")["shape"]
        return 1e-9 * 4 * shape["d_model"] * shape["d_ff"] * tokens / record["median_seconds"] / self.ceiling(dtype)

    def share_of_reads(self, dtype, tokens):
        """Of the read bandwidth, by a stack of layers with cold weights: against a loop that does nothing but read, in the same turns."""
        stack = self.sweep("stacks", dtype)
        return next((p["share_of_reader"] for p in stack["points"] if p["tokens"] == tokens), None) if stack else None

    def experts_growth(self, dtype, few=8, many=128):
        """What reading the additional weights takes at the read bandwidth, over the additional time."""
        sweep = self.sweep("experts", dtype)
        points = {p["experts"]: p for p in sweep["points"] if "median_seconds" in p} if sweep else {}
        if few not in points or many not in points:
            return None
        seconds = points[many]["median_seconds"] - points[few]["median_seconds"]
        read = points[many]["bytes_read"] - points[few]["bytes_read"]
        return 1e-9 * read / self.run("sweeps")["ceilings"]["read_gigabytes_per_second"] / max(seconds, 1e-9)

    def whole_model(self, dtype, task):
        """The contenders' records."""
        cases = (c for c in self.report.get("models", []) if c["dtype"] == dtype and c.get("task") == task)
        return next(cases, {"contenders": {}})["contenders"]

    def whole_by_published(self, dtype, task):
        """How many times faster our HyperMoE is than the published algorithm."""
        return self.whole_model(dtype, task).get("published_hypermoe", {}).get("ratio_to_ours_hypermoe")

    def whole_hypermoe_throughput(self, dtype, task):
        ratio = self.whole_model(dtype, task).get("ours_hypermoe", {}).get("ratio_to_ours_moe")
        return 1 / ratio if ratio else None


def model_targets(n):
    cases = [(c["dtype"], c["task"]) for c in n.report.get("models", []) if "task" in c]
    for dtype, task in cases:
        yield Target(f"whole model, {dtype}, {task}: speed by the published algorithm", n.whole_by_published(dtype, task), PUBLISHED_MODEL[dtype])
    for dtype, task in cases:
        what = f"whole model, {dtype}, {task}: HyperMoE's throughput of MoE's"
        yield Target(what, n.whole_hypermoe_throughput(dtype, task), 0.98, percent=True)


def count(tokens):
    return f"{tokens} token{'s' if tokens > 1 else ''}"


def layer_targets(n):
    for dtype in ("f32", "bf16"):
        for tokens in (1, 64, 2048):
            yield Target(f"{dtype}, {count(tokens)}: HyperMoE's throughput of MoE's", n.hypermoe_throughput(dtype, tokens), 0.97, percent=True)
    for dtype, rows in PEERS.items():
        for tokens, (least, aim) in rows.items():
            what = f"{dtype}, {count(tokens)}: speed by the best of torch.compile and OpenVINO"
            yield Target(what, n.best_peer(dtype, tokens)[1], least, aim)
    instruction = n.run("layers")["ceilings"]["bf16_instruction"]
    peak = {"amx": "the AMX peak", "avx512_bf16": "the AVX512-BF16 peak (this CPU has no AMX)"}.get(
        instruction, "the FMA peak (this CPU has no bf16)"
    )
    yield Target("f32, 4096 tokens: share of the FMA peak", n.share_of_peak("f32", 4096), 0.88, percent=True)
    yield Target(f"bf16, 4096 tokens: share of {peak}", n.share_of_peak("bf16", 4096), 0.40, percent=True)


def sweep_targets(n):
    for dtype in ("f32", "bf16"):
        for tokens in (1, 8):
            what = f"{dtype}, {count(tokens)}, cold weights: share of the read bandwidth"
            yield Target(what, n.share_of_reads(dtype, tokens), 0.85, percent=True)
    for dtype in ("f32", "bf16"):
        yield Target(f"{dtype}, 8 to 128 experts: reading the added weights, over the added time", n.experts_growth(dtype), 1.0)


def targets(report):
    """Of the parts that were measured."""
    for part, of_part in (("layers", layer_targets), ("sweeps", sweep_targets), ("models", model_targets)):
        if part in report["runs"]:
            yield from of_part(Numbers(report))
