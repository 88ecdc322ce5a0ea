"""Puts the numbers of bench/run.sh into docs/performance.md, between its two markers.   report.py NUMBERS.json REPORT.md"""
import json
import platform
import sys

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def processor():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def cache_sizes():
    sizes = []
    for index in range(8):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        try:
            with open(f"{folder}/level", encoding="ascii") as level, open(f"{folder}/size", encoding="ascii") as size, open(
                f"{folder}/type", encoding="ascii"
            ) as kind:
                if kind.read().strip() != "Instruction":
                    sizes.append(f"L{level.read().strip()} {size.read().strip()}")
        except OSError:
            break
    return ", ".join(sizes)


def tables(numbers):
    h, f, n = int(numbers["d_model"]), int(numbers["d_ff"]), int(numbers["experts"])
    expert_flop, expert_bytes = 4 * h * f, 2 * h * f * 4
    threads = int(numbers["threads"])
    yield f"- Machine: {processor()}, {threads} thread{'s' if threads != 1 else ''}, {cache_sizes()}; Linux {platform.release().split('-')[0]}.\n"
    yield f"- Code version: {numbers['cpu_version']}. OpenBLAS: `{numbers['openblas'].strip()}`.\n"
    yield (
        f"- Ceilings, measured in the same process: {numbers['peak_gflops']:.0f} GFLOP/s of multiply-adds, "
        f"{numbers['peak_gigabytes_per_second']:.1f} GB/s of reads from memory.\n"
    )
    yield f"- Layer: d_model {h}, d_ff {f}, {n} experts, top-1, f32. Medians.\n"
    yield "\n"
    yield "| tokens | MoE, ours | MoE, OpenBLAS | ours is faster by | HyperMoE, ours | HyperMoE's throughput of MoE's |\n"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |\n"
    for row in numbers["rows"]:
        seconds = row["median_seconds"]
        ours, hyper = seconds["moe_layer"], seconds["hypermoe_layer"]
        peer = min(seconds["openblas_by_product"], seconds["openblas_by_expert"])
        yield (
            f"| {row['tokens']:.0f} | {1e3 * ours:.3f} ms | {1e3 * peer:.3f} ms | {peer / ours:.2f}x "
            f"| {1e3 * hyper:.3f} ms | {100 * ours / hyper:.1f} % |\n"
        )
    yield "\n"
    yield "| tokens | experts read | MoE, ours: GFLOP/s | of the peak | GB/s of weights | of the peak | max difference to OpenBLAS |\n"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    for row in numbers["rows"]:
        ours = row["median_seconds"]["moe_layer"]
        gflops = 1e-9 * row["tokens"] * (expert_flop + 2 * h * n) / ours
        gigabytes = 1e-9 * row["experts_used"] * expert_bytes / ours
        yield (
            f"| {row['tokens']:.0f} | {row['experts_used']:.1f} | {gflops:.1f} | {100 * gflops / numbers['peak_gflops']:.0f} % "
            f"| {gigabytes:.1f} | {100 * gigabytes / numbers['peak_gigabytes_per_second']:.0f} % | {row['difference']:.1e} |\n"
        )


def main():
    numbers_path, report_path = sys.argv[1:]
    with open(numbers_path, encoding="utf-8") as file:
        numbers = json.load(file)
    with open(report_path, encoding="utf-8") as file:
        report = file.read()
    before, rest = report.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    with open(report_path, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + "".join(tables(numbers)) + END + after)


main()
