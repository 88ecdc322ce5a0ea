"""How long a step takes, by a model: what the compiled code has, counted, against ceilings of the machine. Nothing here is a measurement of ours.

    tiles      planes of depth * what a plane keeps tensor cores, loads and issue slots busy (the most of the three) + what a tile costs once, waves of tiles
    streams    the most of: bytes of weights from memory, bytes of rows from the second-level cache, issue slots, a warp's own waits
    f32 tiles  iterations of the loop over depth * its cycles, waves of blocks
    others     bytes, and loops over rows where a block goes through all of them
"""
import collections
import math
import re

from . import plan, sass

Machine = collections.namedtuple("Machine", "name multiprocessors peak copy clock light_clock l2_bytes")
# name, multiprocessors, FLOP/s of bf16 that cuBLAS reaches (8192^3), bytes/s that a copy reaches (read and written), clock while tensor cores are busy (what
# the peak means at 4,096 FLOP a cycle and multiprocessor), clock otherwise, bytes a cycle and multiprocessor from the second-level cache
MACHINES = {"sm_90a": Machine("H200", 132, 790e12, 4.3e12, 790e12 / (132 * 4096), 1.755e9, 46.0)}
MAIN_LOOP = 0.80 # of the peak: what published kernels of 128 x 256 x 64 with three warpgroups reach between epilogues
STREAM = 0.86 # of the copy: what long streams of weights reach (published decoding rates)
SCATTERED = 0.80 # of the copy: gathered rows
LAUNCH = 2.0e-6 # from one kernel's end to the next one's begin, in a stream that has them queued
RAMP = 1.5e-6 # until the memory pipe is full, and drained
FILL = 900 # cycles until the first stage of a block has come
WARP, SCHEDULERS = 32, 4
PANEL, PLANE, TILE_ROWS, TILE_PANELS, RASTER = 32, 64, 128, 8, 8 # of compiler/target/cuda/tile90.c
STREAM_COLUMNS, STREAM_ROWS, STREAM_WARPS, STREAM_TILE, STREAM_LOADS = 16, 32, 8, 8, 4 # of stream.c; loads of weights that a warp has on the way
WAVES, GROUP_THREADS = 2, 256 # of runtime/cuda/steps.c
F32_ROWS, F32_COLUMNS, F32_THREADS = 64, 64, 256 # of matmul.c

CODE_OF = {"group_tokens": ("hmoe_group_count", "hmoe_group_write"), # what a step launches that is in all objects
           "group_selections": {"rank": ("hmoe_sets_rank", "hmoe_sets_place", "hmoe_sets_block"),
                                "distinct": ("hmoe_sets_sort", "hmoe_sets_first", "hmoe_sets_place", "hmoe_sets_block"), "token": ("hmoe_sets_token",)}}


class ModelError(Exception):
    """A step that the model has no terms for."""


def ceil(a, b):
    return -(-a // b)


def columns_of(step):
    """Panels of B, and of C in steps of columns."""
    a = step.attributes
    paired = 0
    if "paired" in a["flags"]:
        paired = ceil(a["segments"][0], PANEL) if len(a["segments"]) == 4 else a["dropped"][0] // PANEL
    return ceil(a["n"], PANEL) + paired, ceil(a["n"], PANEL)


def flops_of(step, rows):
    """2 k a column of B and row."""
    return 2 * rows * step.attributes["k"] * (step.attributes["n"] + (columns_of(step)[0] - columns_of(step)[1]) * PANEL)


class Run:
    """A run of so many tokens of an entry."""

    def __init__(self, machine, kernels, entry, tokens):
        self.machine, self.kernels, self.tokens = machine, kernels, tokens
        self.dims = plan.dims_of(entry, tokens)
        self.groupings = {} # name of a blocks buffer: rows of its groups, how many groups there may be
        self.routings = {}
        for step in entry[0]:
            self.note_grouping(step)
        self.steps = plan.taken_steps(entry[0], self.rows_of, self.groupings)

    def rows_of(self, step):
        dim = step.attributes.get("rows", -1)
        return self.dims[dim] if 0 <= dim < len(self.dims) and self.dims[dim] is not None else 0

    def routing(self, experts, top_k):
        key = experts, top_k
        if key not in self.routings:
            self.routings[key] = plan.Routing(self.tokens, experts, top_k)
        return self.routings[key]

    def note_grouping(self, step):
        a = step.attributes
        if step.op == "group_tokens":
            self.groupings[step.operands["blocks"]["name"]] = list(self.routing(a["experts"], a["top_k"]).experts.values()), a["experts"]
        elif step.op == "group_selections":
            rows = list(self.routing(a["experts"], a["top_k"]).sets.values()) if a["mode"] != "token" else [1] * self.tokens
            self.groupings[step.operands["blocks"]["name"]] = rows, math.comb(a["experts"], a["top_k"])

    def groups(self, step):
        """Rows of the groups that a step multiplies, of those that have any."""
        blocks = step.operands.get("blocks")
        return self.groupings[blocks["name"]][0] if blocks else [self.rows_of(step)]

    def kernel(self, step):
        found = [k for name, k in self.kernels.items() if re.fullmatch(rf".*_{step.kernel}", name) and not name.startswith("hmoe_")]
        if not found:
            raise ModelError(f"there is no code of kernel {step.kernel}")
        return found[0]

    def results(self):
        return [self.result(step) for step in self.steps]

    def result(self, step):
        if step.op == "grouped_matmul":
            found = self.product(step)
        elif step.op in CODE_OF:
            found = self.grouping(step)
        elif step.op in ROW_STEPS:
            found = self.rows(step)
        else:
            raise ModelError(f"the model has no terms for {step.op}")
        return {"op": step.op, "kernel": step.kernel, **found}

    # ---- products ----

    def product(self, step):
        a, rows = step.attributes, self.groups(step)
        weights = step.operands["b"]["layout"]["row_bytes"] if not step.operands.get("blocks") else a["layout"]["b_group_bytes"]
        found = {"rows": sum(rows), "flops": flops_of(step, sum(rows)), "weight_bytes": weights * len([r for r in rows if r]), "row_bytes": self.moved(step, sum(rows))}
        kernel = self.kernel(step)
        if a["format"] != "bf16":
            how = self.f32_tiles(step, kernel, rows)
        elif "few_rows" in a["flags"]:
            how = self.stream(step, kernel, rows, found)
        else:
            how = self.tiles(step, kernel, rows, found)
        return {**found, **how}

    def moved(self, step, rows):
        """Bytes of rows read and written."""
        a, c = step.operands["a"], step.operands["c"]
        element = plan.ELEMENT_BYTES[step.attributes["c_format"]]
        written = rows * step.attributes["n"] * element
        return rows * step.attributes["k"] * plan.ELEMENT_BYTES[a["element"]] + written * (2 if "accumulate" in step.attributes["flags"] else 1)

    def tile_figures(self, kernel, panels):
        """Of tiles of so many panels: cycles of a plane, and those of a tile beside."""
        for loop in kernel.loops_with("HGMMA"):
            width = int(re.match(r"HGMMA\.64x(\d+)", next(i.opcode for i in loop.body if sass.kind(i) == "HGMMA")).group(1))
            if width == panels * PANEL:
                around = kernel.around(loop)
                once = around.way(through=loop)
                tile = max(sass.cycles_of_one_more(once), 2 * len(once)) # two warps a scheduler
                tensor = 2 * loop.tensor_cycles / MAIN_LOOP
                loads = (TILE_ROWS + panels * PANEL) * PLANE * 2 / self.machine.l2_bytes
                return max(tensor, loads, 2 * len(loop.way()), sass.cycles_of_one_more(loop.way())), tile
        raise ModelError(f"{kernel.name} has no loop of wgmma over {panels * PANEL} columns")

    def tiles(self, step, kernel, rows, found):
        machine, planes, panels = self.machine, ceil(step.attributes["k"], PLANE), columns_of(step)[0]
        across, last = ceil(panels, TILE_PANELS), panels % TILE_PANELS or TILE_PANELS
        blocks = plan.blocks_of(rows, TILE_ROWS)
        costs = {}
        for width in {last, TILE_PANELS if across > 1 else last}:
            plane, tile = self.tile_figures(kernel, width)
            costs[width] = planes * plane + tile
        busy = [0.0] * machine.multiprocessors
        for number in range(blocks * across): # the order of tile90.c: RASTER blocks at a time, columns, then blocks
            first = number // (RASTER * across) * RASTER
            height = min(RASTER, blocks - first)
            column = number % (RASTER * across) // height
            busy[number % machine.multiprocessors] += costs[last if column == across - 1 else TILE_PANELS]
        compute = (max(busy) + FILL) / machine.clock
        memory = (found["weight_bytes"] + found["row_bytes"]) / (machine.copy * STREAM)
        return {"way": "tiles", "tiles": blocks * across, "waves": blocks * across / machine.multiprocessors, "seconds": max(compute, memory) + RAMP,
                "limit": "tiles" if compute >= memory else "memory", "tile_cycles": round(costs[max(costs)]),
                "epilogue_cycles": round(self.tile_figures(kernel, max(costs))[1])}

    def stream_loop(self, kernel, tiles):
        """The way once round the loop over planes, of so many tiles of rows."""
        loop = max(kernel.loops_with("HMMA"), key=lambda each: len(each.blocks)) if kernel.loops_with("HMMA") else None
        if not loop:
            raise ModelError(f"{kernel.name} has no loop of mma")
        with_mma = [block for block in loop.own if block.kinds["HMMA"]]
        return loop, loop.way(avoid=frozenset(with_mma[tiles:]))

    def stream(self, step, kernel, rows, found):
        machine, a = self.machine, step.attributes
        planes, (right, panels) = ceil(a["k"], PLANE), columns_of(step)
        row_block = a["schedule"]["row_block"]
        blocks = sum(ceil(r, row_block) for r in rows)
        bound = plan.block_bound(sum(rows), row_block, self.groupings[step.operands["blocks"]["name"]][1] if step.operands.get("blocks") else 1)
        wanted = WAVES * machine.multiprocessors
        splits = 1 if bound >= wanted else min(panels, ceil(wanted, bound))
        columns = STREAM_COLUMNS // 2 if right > panels else STREAM_COLUMNS
        normalised = a["norm"] != "none"
        part_rows = STREAM_ROWS // 2 if normalised else STREAM_ROWS
        longest = slots = 0 # cycles of the longest task; issue slots of all
        l2 = 0
        for r in rows:
            for block_rows in [r // ceil(r, row_block) + (i < r % ceil(r, row_block)) for i in range(ceil(r, row_block))]:
                parts = ceil(block_rows, part_rows)
                tiles = ceil(min(block_rows, part_rows), STREAM_TILE)
                loop, once = self.stream_loop(kernel, tiles)
                around = kernel.around(loop)
                rest = sass.cycles_of_one_more(around.way(through=loop)) + sum(
                    sass.cycles_of_one_more(inner.way()) * max(1, block_rows * columns / GROUP_THREADS) for inner in around.within if inner is not loop and inner.mix["STG"])
                a_plane = sass.cycles_of_one_more(once, STREAM_LOADS)
                a_step = parts * (ceil(planes, STREAM_WARPS) * a_plane + rest)
                steps = ceil(panels, splits) * PANEL // columns
                longest = max(longest, steps * a_step)
                slots += parts * panels * PANEL // columns * (planes * len(once) + STREAM_WARPS * len(around.way(through=loop)))
                l2 += panels * PANEL // columns * block_rows * a["k"] * plan.ELEMENT_BYTES[step.operands["a"]["element"]]
        waves = ceil(blocks * splits, wanted) # two blocks of threads at a time
        times = {"memory": (found["weight_bytes"] + found["row_bytes"]) / (machine.copy * STREAM),
                 "rows from the second-level cache": (l2 + found["weight_bytes"]) / (machine.l2_bytes * machine.multiprocessors * machine.light_clock),
                 "issue slots": slots / (SCHEDULERS * machine.multiprocessors * machine.light_clock), "waits": waves * longest / machine.light_clock}
        limit = max(times, key=times.get)
        return {"way": "stream", "tiles": blocks * splits, "waves": blocks * splits / wanted, "seconds": times[limit] + RAMP + LAUNCH, "limit": limit}

    def f32_tiles(self, step, kernel, rows):
        machine = self.machine
        loop = max(kernel.loops_with("FFMA"), key=lambda each: each.mix["FFMA"], default=None)
        if not loop:
            raise ModelError(f"{kernel.name} has no loop of products")
        once = loop.way()
        depth = max(1, loop.mix["FFMA"] * F32_THREADS // (F32_ROWS * F32_COLUMNS))
        per = max(sass.cycles_of_one_more(once), F32_THREADS // WARP / SCHEDULERS * len(once)) * ceil(step.attributes["k"], depth)
        row_block = step.attributes["schedule"]["row_block"]
        blocks = sum(ceil(r, row_block) for r in rows) * ceil(columns_of(step)[0] * PANEL, F32_COLUMNS)
        seconds = max(ceil(blocks, machine.multiprocessors) * per / machine.light_clock, self.moved(step, sum(rows)) / (machine.copy * SCATTERED))
        return {"way": "f32 tiles", "tiles": blocks, "waves": blocks / machine.multiprocessors, "seconds": seconds + LAUNCH, "limit": "a block's loop over depth"}

    # ---- the rest ----

    def rows(self, step):
        """Bytes of what is read and written; where several rows are made of one, or one of several, of those there are."""
        rows, n = self.rows_of(step), step.attributes.get("n", 0)
        read, written = ROW_STEPS[step.op](step, rows, n)
        once = [sass.cycles_of_one_more(loop.way()) for loop in self.kernel(step).loops if not loop.within][:1]
        seconds = (read + written) / (self.machine.copy * SCATTERED)
        return {"rows": rows, "flops": 0, "weight_bytes": 0, "row_bytes": read + written, "way": "rows", "tiles": 0, "waves": 0, "seconds": seconds + LAUNCH,
                "limit": "memory" if once else "launch"}

    def cycles_of_a_row(self, name):
        """Of the loop over rows, which is the one that loads most: it may take several rows a time."""
        loop = max((loop for loop in self.kernels[name].loops if loop.mix["LDG"]), key=lambda each: each.mix["LDG"])
        return sass.cycles_of_one_more(loop.way()) / loop.mix["LDG"]

    def grouping(self, step):
        """Every block of threads goes through all rows; a loop of its code a row, or as many rows as it has threads."""
        code = CODE_OF[step.op]
        if isinstance(code, dict):
            code = code[step.attributes["mode"]]
        rows, seconds = self.rows_of(step), 0.0
        for name in code:
            trips = {"hmoe_sets_place": rows, "hmoe_sets_first": rows, "hmoe_sets_rank": 1, "hmoe_sets_sort": 1, "hmoe_sets_token": 1}.get(name, ceil(rows, GROUP_THREADS))
            seconds += LAUNCH + trips * self.cycles_of_a_row(name) / self.machine.light_clock
        return {"rows": rows, "flops": 0, "weight_bytes": 0, "row_bytes": 16 * rows, "way": "grouping", "tiles": 0, "waves": 0, "seconds": seconds, "limit": "a block's loop over rows"}


def _pack(step, rows, n):
    return rows * n * 4, rows * n * 2


def _combine(step, rows, n):
    return rows * step.attributes["top_k"] * n * 4, rows * n * 4


# Bytes read and written of steps over rows.
ROW_STEPS = {"pack_rows": _pack, "combine": _combine, "route_topk": lambda step, rows, n: (rows * step.attributes["experts"] * 4, rows * step.attributes["top_k"] * 8),
             "norm_rows": lambda step, rows, n: (rows * n * 4, rows * n * 4), "map_rows": lambda step, rows, n: (rows * n * 4, rows * n * 4),
             "embed_rows": lambda step, rows, n: (rows * n * 4, rows * n * 4)}
