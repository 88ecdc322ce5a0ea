"""How long attention takes (compiler/target/cuda/attention.c): of few queries a warp a tile of keys, eight at a time in a block of threads, whose keys several blocks may share; of
many a block goes through the tiles with all its warps."""
from . import model, plan, sass

THREADS, WARPS, KEYS, FEW, GRID = 256, 8, 64, 8, 16 # of attention.c
SHARED_ROWS = 512 # of include/hmoe/abi_cuda.h
UNROLLED = 8 # tiles that are put together at a time


def figures(run, step):
    """Of what model.Run.result gives."""
    a = step.attributes
    batch, length, past, keys, _, kv_rows, _ = (run.dim(number) for number in a["dims"])
    kernel, size, heads, block = run.kernel(step), a["head_size"], a["heads"], a["schedule"]["query_block"]
    panels = model.ceil(size, model.PANEL)
    seen = [min(keys, past + min(end, length)) if a["causal"] else keys for end in range(block, length + block, block)] # by each block of queries
    bytes_of_keys = kv_rows * heads * max(seen, default=0) * (size + panels * model.PANEL) * 4
    rows = 2 * batch * length * heads * size * 4
    pairs = sum(end * min(block, length - i * block) for i, end in enumerate(seen))
    found = {"rows": batch * length, "flops": 4 * batch * heads * size * pairs, "weight_bytes": 0, "row_bytes": bytes_of_keys + rows}
    tasks = batch * heads * len(seen)
    memory = found["row_bytes"] / (run.machine.copy * model.STREAM) + model.RAMP
    how = _few(run, kernel, tasks, length, keys, seen, panels) if length <= FEW else _many(run, kernel, tasks, seen, size, panels)
    limit = "memory" if memory >= how["cycles"] / run.machine.light_clock else how["limit"]
    seconds = max(memory, how["cycles"] / run.machine.light_clock) + how["launches"] * model.LAUNCH + how["behind"] / run.machine.light_clock
    return {**found, "way": how["way"], "tiles": how["tasks"], "waves": how["tasks"] / (how["at_once"] * run.machine.multiprocessors), "seconds": seconds, "limit": limit}


def shares_of(run, tasks, parts, queries):
    """Tasks that share the keys of a head, as runtime/cuda/steps.c has it."""
    if not tasks or queries > FEW or tasks > SHARED_ROWS or parts <= WARPS or not plan.is_decoding(run.entry):
        return 1
    return max(1, min(parts, run.machine.multiprocessors // tasks))


def pick(loops, what, kernel):
    found = max(loops, key=lambda loop: len(loop.blocks), default=None)
    if not found:
        raise model.ModelError(f"{kernel.name} has no loop of {what}")
    return found


def _few(run, kernel, tasks, length, keys, seen, panels):
    """A round of a block: each warp a tile, with all its keys' loads, and its values in steps; then what they gave is joined, a tile after the other."""
    rounds = pick([loop for loop in kernel.loops if loop.mix["BAR"] and not loop.mix["LDGSTS"] and loop.within], "tiles of warps", kernel)
    joins = pick([loop for loop in kernel.loops if any(inner.mix["SHFL"] for inner in loop.within) and not loop.mix["BAR"] and loop not in rounds.within
                  and not any(inner.mix["BAR"] for inner in loop.within)], "what shared keys gave", kernel)
    tiles = model.ceil(seen[0], KEYS) if seen else 0
    shares = shares_of(run, tasks, length * tiles, length)
    values = [loop for loop in rounds.within if loop.mix["SHFL"] and loop.mix["LDG"]]
    joined = [loop for loop in rounds.within if loop not in values and loop.mix["LDS"]]
    tile = sass.cycles_of_one_more(rounds.way(), rounds.mix["LDG"])
    tile += min((KEYS // max(1, loop.mix["SHFL"]) * sass.cycles_of_one_more(loop.way(), loop.mix["LDG"]) for loop in values), default=0)
    join = sum(sass.cycles_of_one_more(loop.way()) for loop in joined) * WARPS if shares == 1 else 0
    count = model.ceil(model.ceil(length * tiles, shares), WARPS)
    at_once = kernel.blocks_at_once(THREADS, shared_bytes(panels))
    waves = model.ceil(tasks * shares, at_once * run.machine.multiprocessors)
    busy = model.ceil(tasks * shares, run.machine.multiprocessors) * model.ceil(length * tiles, shares) * KEYS * panels * model.PANEL * 8 / run.machine.l2_bytes
    behind = 0
    if shares > 1:
        chunk = sum(sass.cycles_of_one_more(loop.way()) * model.ceil(model.WARP, UNROLLED) for loop in joins.within if not loop.within)
        middle = [loop for loop in joins.within if loop.within]
        chunk += sum(sass.cycles_of_one_more(loop.way()) for loop in middle)
        behind = sass.cycles_of_one_more(joins.way()) * model.ceil(length * panels, WARPS) + chunk * model.ceil(tiles, model.WARP) * model.ceil(length * panels, WARPS)
    cycles = max(waves * count * (tile + join), busy)
    return {"way": "few queries" if shares == 1 else f"few queries, keys shared by {shares}", "tasks": tasks * shares, "at_once": at_once, "cycles": cycles, "behind": behind,
            "launches": 1 + (shares > 1), "limit": "the second-level cache" if busy >= waves * count * (tile + join) else "a warp's tiles"}


def shared_bytes(panels):
    """Of heads of so many panels: queries and weights, whose rows are padded by four, and two chunks."""
    size = panels * model.PANEL
    return (size + KEYS) * (rows_of(size) + 4) * 4 + 2 * KEYS * model.PANEL * 4


def rows_of(size):
    """Queries that a block has at one time."""
    return 64 if size <= 128 else 32 if size <= 256 else 16


def _many(run, kernel, tasks, seen, size, panels):
    """A tile of keys: loops within go round until all products of a thread are done, 128 a row of its in each chunk; but for those over keys that only some rows see, which are
    gone through once a block. Two warps share a scheduler."""
    tiles = pick([loop for loop in kernel.loops if loop.mix["LDGSTS"] and loop.within], "tiles of keys", kernel)
    rows = rows_of(size) // GRID
    per = slots = some = 0
    for loop in tiles.within:
        if not loop.mix["FFMA"]:
            continue
        way = loop.way()
        trips = rows * 128 / loop.mix["FFMA"]
        if loop.mix["FSEL"] or loop.mix["SEL"]:
            some += sass.cycles_of_one_more(way) * rows * 2 * rows / loop.mix["FFMA"] * 2
            continue
        per += trips * sass.cycles_of_one_more(way)
        slots += trips * len(way)
    per += sass.cycles_of_one_more(tiles.way())
    slots += len(tiles.way())
    at_once = kernel.blocks_at_once(THREADS, shared_bytes(panels))
    per_block = max(per / at_once, WARPS / model.SCHEDULERS * slots)
    busy = [0.0] * run.machine.multiprocessors
    for number in range(tasks):
        busy[number % len(busy)] += model.ceil(seen[number % len(seen)], KEYS) * per_block + some
    return {"way": "many queries", "tasks": tasks, "at_once": at_once, "cycles": max(busy), "behind": 0, "launches": 1,
            "limit": "issue slots" if per / at_once <= WARPS / model.SCHEDULERS * slots else "a block's tiles"}
