"""Layers beside PyTorch's products on the same GPU, in one process: peers.py LIBRARY RESULTS.json

Weights are random, as are the tokens; what is compared is time, of the two (or three) products of all experts: ours with routing, grouping and epilogue, PyTorch's
without. cuBLAS: a product an expert, of tokens that are already sorted. grouped: torch._grouped_mm, where this PyTorch has it. triton: fused_moe.py, which
gathers and sums as ours does and is told which picks are an expert's."""
import ctypes
import json
import sys

import torch

try:
    import fused_moe
    TRITON = fused_moe.triton.__version__
except ImportError as error:
    fused_moe, TRITON = None, str(error)

TOKENS = (1, 8, 64, 512, 8192)
RUNS, WARM_UP = 30, 5


def median_seconds(work):
    for _ in range(WARM_UP): work()
    times = []
    for _ in range(RUNS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times)[len(times) // 2]


def peers_of(dims, tokens):
    """{name: work} of one layer's products."""
    d, f, experts, k, gated = dims
    picks = tokens * k
    sizes = [picks // experts + (e < picks % experts) for e in range(experts)]
    x = torch.randn(picks, d, device="cuda", dtype=torch.bfloat16)
    first = torch.randn(experts, d, f * (1 + gated), device="cuda", dtype=torch.bfloat16) / d**0.5
    second = torch.randn(experts, f, d, device="cuda", dtype=torch.bfloat16) / f**0.5

    def act(h): return torch.nn.functional.silu(h[..., :f]) * h[..., f:] if gated else torch.relu(h)

    def cublas():
        at = 0
        for e, size in enumerate(sizes):
            if size: act(x[at:at + size] @ first[e]) @ second[e]
            at += size

    work = {"cublas": cublas}
    if fused_moe:
        w_first, w_second = first.transpose(1, 2).contiguous(), second.transpose(1, 2).contiguous()
        rows, gates, tokens_x = fused_moe.tile_rows(picks, experts), torch.rand(picks, device="cuda"), x[:tokens].contiguous()
        order, expert_of = fused_moe.order_of(list(torch.randperm(picks, device="cuda").split(sizes)), rows)
        work["triton"] = lambda: fused_moe.fused_moe(tokens_x, w_first, w_second, gates, order, expert_of, rows, k, bool(gated))
    if hasattr(torch, "_grouped_mm"):
        ends = torch.tensor(sizes, device="cuda", dtype=torch.int32).cumsum(0).to(torch.int32)
        work["grouped"] = lambda: torch._grouped_mm(act(torch._grouped_mm(x, first, offs=ends)), second, offs=ends)
    return work


def main():
    if len(sys.argv) != 3: sys.exit(__doc__)
    library, results = ctypes.CDLL(sys.argv[1]), {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": TRITON, "layers": []}
    library.first_run_open.restype = library.first_run_queue.restype = ctypes.c_int
    torch.zeros(1, device="cuda")
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    results["bf16_peak_tflops"] = 2 * 8192**3 / median_seconds(lambda: a @ a) / 1e12
    dims = (ctypes.c_longlong * 5)()
    number = 0
    while (status := library.first_run_open(number, dims)) != -1:
        number += 1
        if status: continue
        for tokens in TOKENS:
            x = torch.randn(tokens, dims[0], device="cuda")
            y = torch.empty_like(x)
            stream = torch.cuda.Stream()
            row = {"case": number - 1, "dims": list(dims), "tokens": tokens, "seconds": {}}
            with torch.cuda.stream(stream):
                def ours():
                    if library.first_run_queue(ctypes.c_longlong(tokens), ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()),
                                               ctypes.c_void_p(stream.cuda_stream)): raise RuntimeError("first_run_queue")
                for name, work in {"ours": ours, **peers_of(tuple(dims), tokens)}.items():
                    try: row["seconds"][name] = median_seconds(work)
                    except Exception as error: row[name] = f"{type(error).__name__}: {error}"[:200]
            results["layers"].append(row)
            with open(sys.argv[2], "w", encoding="utf-8") as file: json.dump(results, file, indent=1)
            print(row, flush=True)


main()
