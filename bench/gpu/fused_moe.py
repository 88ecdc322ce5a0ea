"""Experts in Triton, as servers of models have them: one kernel for the first products of all experts with their activation, one for the second.

fused_moe.py --check compares them with PyTorch's products: on a GPU, or on a CPU with TRITON_INTERPRET=1.

A tile of rows is of one expert. `order` has the picks (token * top_k + k) by expert, each expert's padded to whole tiles by a number that is no pick."""
import os
import sys

import torch
import triton
import triton.language as tl

GROUP = 8  # tiles of rows that take a block of columns one after the other, so that it is read from memory once


@triton.jit
def place_of(tiles, columns, BN: tl.constexpr, GROUP: tl.constexpr):
    """Which tile of rows and which block of columns a program has."""
    number, blocks = tl.program_id(0), tl.cdiv(columns, BN)
    first = number // (GROUP * blocks) * GROUP
    height = tl.minimum(tiles - first, GROUP)
    return first + number % (GROUP * blocks) % height, number % (GROUP * blocks) // height


@triton.jit
def first_kernel(x, w, h, order, expert_of, tiles, picks, d, f, top_k, GATED: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
                 BK: tl.constexpr, GROUP: tl.constexpr):
    """h[pick] = act(x[pick // top_k] w[expert]^T); w is [experts, f or 2 f, d], of gated experts gates in front of ups."""
    tile, block = place_of(tiles, f, BN, GROUP)
    pick = tl.load(order + tile * BM + tl.arange(0, BM))
    expert = tl.load(expert_of + tile).to(tl.int64)
    column, k = block * BN + tl.arange(0, BN), tl.arange(0, BK)
    is_pick, is_column = pick < picks, column < f
    a_at = x + (pick // top_k)[:, None] * d + k[None, :]
    b_at = w + expert * (2 * f if GATED else f) * d + column[None, :] * d + k[:, None]
    gate = tl.zeros((BM, BN), dtype=tl.float32)
    up = tl.zeros((BM, BN), dtype=tl.float32)
    for begin in range(0, d, BK):
        inside = begin + k < d
        a = tl.load(a_at + begin, mask=is_pick[:, None] & inside[None, :], other=0.0)
        b = tl.load(b_at + begin, mask=inside[:, None] & is_column[None, :], other=0.0)
        gate = tl.dot(a, b, gate)
        if GATED:
            b = tl.load(b_at + f * d + begin, mask=inside[:, None] & is_column[None, :], other=0.0)
            up = tl.dot(a, b, up)
    result = gate * tl.sigmoid(gate) * up if GATED else tl.maximum(gate, 0.0)
    tl.store(h + pick[:, None] * f + column[None, :], result.to(h.dtype.element_ty), mask=is_pick[:, None] & is_column[None, :])


@triton.jit
def second_kernel(h, w, y, gates, order, expert_of, tiles, picks, d, f, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
                  GROUP: tl.constexpr):
    """y[pick] = gates[pick] * h[pick] w[expert]^T; w is [experts, d, f]."""
    tile, block = place_of(tiles, d, BN, GROUP)
    pick = tl.load(order + tile * BM + tl.arange(0, BM))
    expert = tl.load(expert_of + tile).to(tl.int64)
    column, k = block * BN + tl.arange(0, BN), tl.arange(0, BK)
    is_pick, is_column = pick < picks, column < d
    a_at = h + pick[:, None] * f + k[None, :]
    b_at = w + expert * d * f + column[None, :] * f + k[:, None]
    sums = tl.zeros((BM, BN), dtype=tl.float32)
    for begin in range(0, f, BK):
        inside = begin + k < f
        a = tl.load(a_at + begin, mask=is_pick[:, None] & inside[None, :], other=0.0)
        b = tl.load(b_at + begin, mask=inside[:, None] & is_column[None, :], other=0.0)
        sums = tl.dot(a, b, sums)
    gate = tl.load(gates + pick, mask=is_pick, other=0.0)
    tl.store(y + pick[:, None] * d + column[None, :], sums * gate[:, None], mask=is_pick[:, None] & is_column[None, :])


SIZES = [(128, 64, 8, 3), (256, 64, 8, 3), (128, 64, 4, 4), (64, 128, 4, 4), (64, 64, 4, 4)]  # columns, depth, warps, stages


def tuned(kernel, key):
    if os.environ.get("TRITON_INTERPRET") == "1": return lambda grid: lambda *a, **n: kernel[grid](*a, BN=16, BK=16, **n)
    configs = [triton.Config({"BN": bn, "BK": bk}, num_warps=warps, num_stages=stages) for bn, bk, warps, stages in SIZES]
    made = triton.autotune(configs=configs, key=key)(kernel)
    return lambda grid: made[grid]


first, second = tuned(first_kernel, ["d", "f", "GATED", "BM"]), tuned(second_kernel, ["d", "f", "BM"])


def tile_rows(picks, experts):
    """Rows of a tile: about what an expert has."""
    rows = picks / experts
    return 16 if rows <= 16 else 32 if rows <= 32 else 64 if rows <= 96 else 128


def order_of(picked, rows):
    """order and expert_of, given the picks of each expert."""
    picks, order, expert_of = sum(len(p) for p in picked), [], []
    for expert, p in enumerate(picked):
        tiles = -(-len(p) // rows)
        order.append(torch.cat([p, p.new_full((tiles * rows - len(p),), picks)]))
        expert_of += [expert] * tiles
    order = torch.cat(order).int()
    return order, torch.tensor(expert_of, dtype=torch.int32, device=order.device)


def fused_moe(x, w_first, w_second, gates, order, expert_of, rows, top_k, gated):
    """x [tokens, d], w_first [experts, f (2 f), d], w_second [experts, d, f] of one type; gates [picks] in f32: y [tokens, d] in f32."""
    picks, d, f, tiles = gates.numel(), x.shape[1], w_second.shape[2], expert_of.numel()
    h = torch.empty(picks, f, device=x.device, dtype=x.dtype)
    y = torch.empty(picks, d, device=x.device, dtype=torch.float32)
    first(lambda size: (tiles * triton.cdiv(f, size["BN"]),))(x, w_first, h, order, expert_of, tiles, picks, d, f, top_k, GATED=gated, BM=rows,
                                                             GROUP=GROUP)
    second(lambda size: (tiles * triton.cdiv(d, size["BN"]),))(h, w_second, y, gates, order, expert_of, tiles, picks, d, f, BM=rows, GROUP=GROUP)
    return y if top_k == 1 else y.view(-1, top_k, d).sum(1)


def check():
    torch.manual_seed(1)
    # Triton's interpreter multiplies the bits of bf16
    device, dtype = ("cpu", torch.float16) if os.environ.get("TRITON_INTERPRET") == "1" else ("cuda", torch.bfloat16)
    for d, f, experts, top_k, gated, tokens in [(32, 48, 3, 1, False, 50), (40, 24, 4, 2, True, 7), (33, 17, 2, 1, True, 1), (16, 16, 5, 2, False, 96)]:
        picks = tokens * top_k
        picked = list(torch.randperm(picks, device=device).tensor_split([picks // 3] * (experts - 1)))  # one third, none, and the rest
        x = torch.randn(tokens, d, device=device).to(dtype)
        w_first = (torch.randn(experts, f * (1 + gated), d, device=device) / d**0.5).to(dtype)
        w_second = (torch.randn(experts, d, f, device=device) / f**0.5).to(dtype)
        gates = torch.rand(picks, device=device)
        rows = tile_rows(picks, experts)
        order, expert_of = order_of(picked, rows)
        got = fused_moe(x, w_first, w_second, gates, order, expert_of, rows, top_k, gated)
        want = torch.zeros(picks, d, device=device)
        for expert, p in enumerate(picked):
            h = x[p // top_k].float() @ w_first[expert].float().T
            h = torch.nn.functional.silu(h[:, :f]) * h[:, f:] if gated else torch.relu(h)
            want[p] = h.to(dtype).float() @ w_second[expert].float().T * gates[p, None]
        error = (got - want.view(tokens, top_k, d).sum(1)).norm() / want.norm()
        print(f"d {d} f {f} experts {experts} top_k {top_k} gated {gated} tokens {tokens}: {error:.1e}")
        if not error < 5e-3: sys.exit("fused_moe: wrong")


if __name__ == "__main__":
    if sys.argv[1:] != ["--check"]: sys.exit(__doc__)
    check()
