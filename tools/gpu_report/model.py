"""How long a step takes, by a model: what the compiled code has, counted, against ceilings of the machine. Nothing here is a measurement of ours.

    tiles      planes of depth * what a plane keeps tensor cores, loads and issue slots busy (the most of the three) + what a tile costs once, waves of tiles
    streams    the most of: bytes of weights from memory, bytes of rows from the second-level cache, bytes through shared memory and the first-level cache, issue
               slots, a warp's own waits
    f32 few    the same, steps of columns in the place of planes
    f32 tiles  iterations of the loop over depth * its cycles, waves of blocks
    attention  bytes of keys and values, a warp's tiles of few queries, or a block's of many
    loops      their launches and their steps, a chunk after the other, as if all groups were generated anew
    others     the more of: bytes, a warp's way through the kernel, of routing issue slots
"""
import collections
import math
import re

from . import attention, plan, sass

Machine = collections.namedtuple("Machine", "name multiprocessors peak copy clock light_clock l2_bytes")
# name, multiprocessors, FLOP/s of bf16 that cuBLAS reaches (8192^3), bytes/s that a copy reaches (read and written), clock while tensor cores are busy (what
# the peak means at 4,096 FLOP a cycle and multiprocessor), clock otherwise, bytes a cycle and multiprocessor from the second-level cache
MACHINES = {"sm_90a": Machine("H200", 132, 790e12, 4.3e12, 790e12 / (132 * 4096), 1.755e9, 46.0)}
MAIN_LOOP = 0.80 # of the peak: what published kernels of 128 x 256 x 64 with three warpgroups reach between epilogues
STREAM = 0.86 # of the copy: what long streams of weights reach (published decoding rates)
SCATTERED = 0.80 # of the copy: gathered rows
LAUNCH = 2.0e-6 # from one kernel's end to the next one's begin, in a stream that has them queued
# What of it a launch saves that may begin while the kernel before ends, and whose kernel waits at its begin for that one's end, so that nothing else overlaps. Published: 0.96 us
# of the gap between two empty kernels, clocks held at 1,755 MHz (pegainfer, issue 569, which calls it the most that a boundary can gain); norms of rows on Hopper that take 9 to 13 us have
# medians shorter by 0 to 2.6 us (sglang, pull request 5981). On a B200 one such launch among several made no difference (flashinfer, pull request 3835).
OVERLAP = 0.9e-6
RAMP = 1.5e-6 # until the memory pipe is full, and drained
FILL = 900 # cycles until the first stage of a block has come
WARP, SCHEDULERS = 32, 4
PANEL, PLANE, TILE_ROWS, TILE_PANELS, RASTER = 32, 64, 128, 8, 8 # of compiler/target/cuda/tile90.c
STREAM_ROWS, STREAM_WARPS, STREAM_TILE, STREAM_RING = 32, 4, 8, 64 << 10 # of stream.c; bytes of its stages
STREAM_TEAM_VALUES = 4 * 4 # of a thread, in the epilogue of teams
NARROW, NARROW_WARPS, NARROW_STEP = 64, 8, 16 # columns of a product of which stream.c makes narrow steps, by so many warps
WAVES, GROUP_THREADS, GROUP_ROWS, GROUP_EXPERTS = 2, 256, 1024, 1024 # of runtime/cuda/steps.c; rows of a chunk of group.c without a capacity
F32_ROWS, F32_COLUMNS, F32_THREADS = 64, 64, 256 # of matmul.c
FEW_MOST, FEW_VALUES = 8, 1 << 18 # of cuda.h: what takes the way for few
FEW_ROWS, FEW_NARROW_STEP, FEW_SHARED, FEW_SUMS = 4, 8, 17 << 10, 4096 # of few.c
PART_ROWS, LONE_ROWS, PANEL_PARTS = 4, 8, 4 # of include/hmoe/abi_cuda.h
ROW_WARPS, ROW_THREADS = 4, 128 # of steps over rows, target/cuda/cuda.h
COMBINE_SLOTS, COMBINE_COLUMNS = 8, 4 # of target/cuda/rows.c: slots that a thread has at one time, and columns at most
ROUTE_WARPS, ROUTE_THREADS = 8, 256 # of ROUTE
LINE, LANES_BYTES = 128, 512 # of the first-level cache; what a warp's widest access moves

CODE_OF = {"group_tokens": ("hmoe_group_once",), # of layers without a capacity: what a step launches that is in all objects
           "group_selections": ("hmoe_sets_sort", "hmoe_sets_place", "hmoe_sets_block")}
CAPACITY_CODE = ("hmoe_group_count", "hmoe_group_write") # of layers that have one
SETS_FEW, SETS_ONCE, SETS_TOKEN = "hmoe_sets_few", "hmoe_sets_once", "hmoe_sets_token"
RANKED_SETS, RANKED_TOKENS = 1024, 2048 # of include/hmoe/abi_cuda.h: what one launch groups
# Of sets.c: tokens that are sorted at a time, halvings, warps of a multiprocessor that find places, rows that groups are made of at a time.
SETS_PART, SETS_HALVES, SETS_WARPS, SETS_ROWS = 256, 9, 40, 1024


EARLY_NOTHING, EARLY_WEIGHTS, EARLY_ALL = range(3) # of include/hmoe/abi_cuda.h: what a product reads before the launch before has ended


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


def epilogue_trips(values, at_once):
    """Of a loop over a thread's values. Of several at a time what is left goes another way."""
    return max(1, values) if at_once == 1 else values // at_once


def is_narrow(attributes):
    return attributes["n"] <= NARROW and "paired" not in attributes["flags"] and len(attributes["segments"]) < 8


def flops_of(step, rows):
    """2 k a column of B and row."""
    return 2 * rows * step.attributes["k"] * (step.attributes["n"] + (columns_of(step)[0] - columns_of(step)[1]) * PANEL)


class Run:
    """A run of so many tokens of an entry (plan.dims_of)."""

    def __init__(self, machine, kernels, entry, tokens, past=0):
        self.machine, self.kernels, self.entry, self.tokens, self.past = machine, kernels, entry, tokens, past
        self.dims = plan.dims_of(entry, tokens, past)
        self.begin()
        self.groupings = {} # name of a blocks buffer: rows of its groups, how many groups there may be
        self.routings = {}
        for step in entry.steps:
            self.note_grouping(step)
        self.steps = plan.taken_steps(entry.steps, self.rows_of, self.groupings)

    def begin(self):
        """What the step at hand has for a launch; the step before it; steps that the launch before did, what it took behind its launch and what part of the multiprocessors' room it had."""
        self.launch, self.before, self.latest, self.latest_seconds, self.latest_room = LAUNCH, None, [], 0.0, 0.0
        self.counts = False # whether the device counts rows, in a loop over groups

    def dim(self, number):
        return self.dims[number] if 0 <= number < len(self.dims) else 0

    def rows_of(self, step):
        return self.dim(step.attributes.get("rows", -1))

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
            self.groupings[step.operands["blocks"]["name"]] = rows, self.tokens if a["mode"] == "token" else math.comb(a["experts"], a["top_k"])

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
        self.begin()
        return [each for step in self.steps for each in (self.loop(step) if isinstance(step, plan.Loop) else [self.result(step)])]

    def groups_what_it_chooses(self, step):
        """Whether a step chooses experts in one task, which groups the rows as well."""
        return step.op == "route_topk" and self.rows_of(step) <= step.attributes["schedule"]["row_block"] and step.attributes["experts"] <= GROUP_EXPERTS

    def result(self, step):
        """The first launch of a run follows what its stream has; those behind it overlap with the one before."""
        found = self.result_of(step)
        if found["seconds"]:
            self.latest, self.latest_seconds, self.latest_room = [step], found["seconds"] - self.launch, found["waves"]
        else:
            self.latest.append(step)
        self.launch, self.before = LAUNCH - OVERLAP, step
        return found

    def is_older(self, step, role):
        """Whether what a step reads is older than the launch before, as runtime/cuda/steps.c has it."""
        buffer = step.operands.get(role)
        if not buffer or buffer["kind"] in ("weight", "input"):
            return True
        written = [bound for other in self.latest for bind, bound in other.operands.items() if bind != "blocks" or other.kernel is None]
        return buffer["kind"] == "workspace" and bool(self.latest) and not any(bound["kind"] == "workspace" and bound["slot"] == buffer["slot"] for bound in written)

    def early(self, step):
        if self.counts or not self.latest or not all(self.is_older(step, role) for role in ("b", "blocks")):
            return EARLY_NOTHING
        return EARLY_ALL if all(self.is_older(step, role) for role in ("a", "gather", "norm_weight", "norm_bias")) else EARLY_WEIGHTS

    def result_of(self, step):
        if step.op == "grouped_matmul":
            found = self.product(step)
        elif step.op == "attention":
            found = attention.figures(self, step)
        elif step.op in CODE_OF:
            found = self.grouping(step)
        elif step.op in TOKEN_STEPS:
            found = self.tokens_step(step)
        elif step.op in ROW_STEPS:
            found = self.rows(step)
        else:
            raise ModelError(f"the model has no terms for {step.op}")
        return {"op": step.op, "kernel": step.kernel, **found}

    def loop(self, loop):
        """Chunks of rows, or of groups: what finds a chunk's groups, a launch or two, and its steps. Groups are generated anew, all of them."""
        a, found = loop.step.attributes, []
        name = loop.step.operands["blocks"]["name"] if "blocks" in loop.step.operands else None
        whole = self.groupings.get(name)
        count = self.rows_of(loop.step) if name is None else min(self.rows_of(loop.step), whole[1])
        for first in range(0, count, a["chunk"]):
            some = min(a["chunk"], count - first)
            self.dims = plan.dims_of(self.entry, self.tokens, self.past, some)
            if name is not None:
                self.groupings[name] = whole[0][first:first + some], some
                found.append({"op": "loop", "kernel": None, **self.chunk(a, some)})
            self.latest, self.counts = [], name is not None
            found += [self.result(step) for step in loop.body]
        self.dims, self.counts = plan.dims_of(self.entry, self.tokens, self.past), False
        if name is not None:
            self.groupings[name] = whole
        return found

    def chunk(self, a, groups):
        """Loops within are over a set's experts, some at a time and then the rest, and each has them all. Of a cache each group's set is sought among all slots, of which there are as
        many as the chunk has groups at least: a warp a set, a lane a slot."""
        def trips(loop, depth):
            at_once = max(1, loop.mix["STG"])
            return ceil(groups, GROUP_THREADS) if not depth else a["top_k"] // at_once if at_once > 1 else a["top_k"] % 4

        seconds = self.launch + self.kernels["hmoe_loop_chunk"].cycles_of_a_warp(trips) / self.machine.light_clock
        if a["kind"] == "cached":
            seconds += self.launch + self.kernels["hmoe_loop_find"].cycles_of_a_warp(lambda loop, depth: ceil(a["chunk"], WARP)) / self.machine.light_clock
        return {"rows": groups, "flops": 0, "weight_bytes": 0, "row_bytes": 0, "way": "a chunk", "tiles": 0, "waves": 0, "seconds": seconds, "limit": "a warp's way"}

    # ---- products ----

    def product(self, step):
        a, rows = step.attributes, self.groups(step)
        weights = step.operands["b"]["layout"]["row_bytes"] if not step.operands.get("blocks") else a["layout"]["b_group_bytes"]
        found = {"rows": sum(rows), "flops": flops_of(step, sum(rows)), "weight_bytes": weights * len([r for r in rows if r]), "row_bytes": self.moved(step, sum(rows))}
        kernel = self.kernel(step)
        if a["format"] != "bf16":
            how = self.f32_few(step, kernel, rows, found) if self.is_few(step, rows) else self.f32_tiles(step, kernel, rows)
        elif "few_rows" in a["flags"]:
            how = self.stream(step, kernel, rows, found)
        else:
            how = self.tiles(step, kernel, rows, found)
        return {**found, **how}

    def moved(self, step, rows):
        """Bytes of rows read from memory and written: a row that several experts read comes once."""
        a, c = step.operands["a"], step.operands["c"]
        element = plan.ELEMENT_BYTES[step.attributes["c_format"]]
        written = rows * step.attributes["n"] * element
        read = min(rows, self.dim(a["dim"])) if "gather" in step.operands and a.get("dim", -1) >= 0 else rows
        return read * step.attributes["k"] * plan.ELEMENT_BYTES[a["element"]] + written * (2 if "accumulate" in step.attributes["flags"] else 1)

    def tile_figures(self, kernel, panels, accumulates):
        """Of tiles of so many panels: cycles of a plane, and those of a tile beside. accumulates: what C holds is read from memory."""
        for loop in kernel.loops_with("HGMMA"):
            width = int(re.match(r"HGMMA\.64x(\d+)", next(i.opcode for i in loop.body if sass.kind(i) == "HGMMA")).group(1))
            if width == panels * PANEL:
                once = loop.way() if loop.mix["STG"] else kernel.around(loop).way(through=loop) # of one plane there is no loop over them
                tile = max(sass.cycles_of_one_more(once, sum(sass.kind(i) == "LDG" for i in once) if accumulates else 0), 2 * len(once)) # two warps a scheduler
                tensor = 2 * loop.tensor_cycles / MAIN_LOOP
                loads = (TILE_ROWS + panels * PANEL) * PLANE * 2 / self.machine.l2_bytes
                issue = 0 if loop.mix["STG"] else max(2 * len(loop.way()), sass.cycles_of_one_more(loop.way()))
                return max(tensor, loads, issue), tile
        raise ModelError(f"{kernel.name} has no loop of wgmma over {panels * PANEL} columns")

    def tiles(self, step, kernel, rows, found):
        machine, planes, panels = self.machine, ceil(step.attributes["k"], PLANE), columns_of(step)[0]
        across, last = ceil(panels, TILE_PANELS), panels % TILE_PANELS or TILE_PANELS
        blocks = plan.blocks_of(rows, TILE_ROWS)
        costs, accumulates = {}, "accumulate" in step.attributes["flags"]
        for width in {last, TILE_PANELS if across > 1 else last}:
            plane, tile = self.tile_figures(kernel, width, accumulates)
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
                "epilogue_cycles": round(self.tile_figures(kernel, max(costs), accumulates)[1])}

    def stream_loop(self, step, kernel, tiles, pairs):
        """The loop over planes of pairs' columns, or of others, and the way once round it, of so many tiles of rows that are aligned."""
        loops = sorted(kernel.loops_with("HMMA"), key=lambda each: each.mix["HMMA"])
        if not loops:
            raise ModelError(f"{kernel.name} has no loop of mma")
        loop = loops[-1 if pairs else 0]
        with_mma = [block for block in loop.own if block.kinds["HMMA"]]
        avoid = set(with_mma[tiles:])
        if step.attributes["k"] >= PLANE:
            avoid |= {block for block in loop.own if block.kinds["LDG"] and not any(i.opcode.startswith("LDG.E.128") for i in block.instructions)} - set(with_mma[:tiles])
        return loop, loop.way(avoid=frozenset(avoid))

    def stream(self, step, kernel, rows, found):
        machine, a = self.machine, step.attributes
        planes, (right, panels) = ceil(a["k"], PLANE), columns_of(step)
        row_block = a["schedule"]["row_block"]
        bound = plan.block_bound(sum(rows), row_block, self.groupings[step.operands["blocks"]["name"]][1] if step.operands.get("blocks") else 1)
        narrow = is_narrow(a)
        warps, width = (NARROW_WARPS, NARROW_STEP) if narrow else (STREAM_WARPS, PANEL)
        steps = panels * PANEL // width # of C's columns
        splits = self.splits(bound, panels * self.parts_of(sum(rows), row_block) if narrow else panels)
        part_rows = STREAM_ROWS if a["norm"] == "none" else STREAM_ROWS // 2
        wide = 2 if right > panels else 1
        shared = STREAM_RING + warps * STREAM_ROWS * (wide * width + 4) * 4
        at_once = kernel.blocks_at_once(warps * WARP, shared)
        team = min(warps, 1 << (planes - 1).bit_length()) # warps that share a depth
        teams = warps // team # and how many there are, with steps of their own
        values_at_once = STREAM_TEAM_VALUES if teams > 1 else 1
        row_loads = 4 if step.operands["a"]["element"] == "f32" else 2 # of a tile of rows, in a plane
        waits = [at for at, i in enumerate(kernel.whole.way()) if i.opcode == "ACQBULK"] # for the launch before; the second behind the first weights that are asked for
        head = sass.cycles(kernel.whole.way()[:waits[1]]) if len(waits) > 1 else 0
        asked = STREAM_RING - warps * wide * width * LINE # bytes of weights
        tail = 0 # cycles of an epilogue
        tasks = longest = slots = l2 = l1 = 0 # cycles of the longest task; issue slots, bytes and cycles of all
        for block_rows in plan.cut_rows(rows, row_block):
            parts, cycles = ceil(block_rows, part_rows), 0
            for pairs, count in ((True, right - panels), (False, 2 * panels - right)): # panels of C of either kind
                if not count:
                    continue
                loop, once = self.stream_loop(step, kernel, ceil(min(block_rows, part_rows), STREAM_TILE), pairs)
                around = kernel.around(loop) or loop # of so few planes that there is no loop over them, it is the one over panels
                between = around.way(through=loop) if around is not loop else ()
                values = block_rows / parts * width * teams / (warps * WARP * values_at_once) # of a thread
                rest = (sass.cycles_of_one_more(between) if between else 0) + sum(sass.cycles_of_one_more(inner.way()) * epilogue_trips(values, inner.mix["STG"])
                                                              for inner in around.within if inner is not loop and inner.mix["STG"])
                tail = max(tail, rest)
                cycles += parts * (ceil(planes, team) * sass.cycles_of_one_more(once) + rest) * count / panels
                count *= PANEL // width
                slots += parts * count * (planes * len(once) + team * len(between))
                loads = [i for i in once if sass.kind(i) == "LDG"][:ceil(min(block_rows, part_rows), STREAM_TILE) * row_loads] # others of missing tiles are not done
                l1 += parts * count * planes * sum(port_cycles(i, STREAM_TILE) for i in [i for i in once if sass.kind(i) != "LDG"] + loads)
                l2 += count * block_rows * a["k"] * plan.ELEMENT_BYTES[step.operands["a"]["element"]]
            longest = max(longest, ceil(ceil(steps, splits), teams) * cycles + parts * self.way_of_a_part(kernel, around) + sass.cycles(kernel.whole.way())
                          + sass.LATENCY_OF_BUSY_MEMORY)
            tasks += min(splits, steps)
        early = (self.early(step), head, asked * tasks, tail) if head else None
        return self.streamed("stream", found, tasks, at_once, longest, slots, l1, l2 + found["weight_bytes"], early)

    def way_of_a_part(self, kernel, steps):
        """Cycles of what a part of the rows has beside its steps; where it is no loop, it is on the kernel's way."""
        part = kernel.around(steps)
        return sass.cycles_of_one_more(part.way()) if part else 0

    def parts_of(self, rows, row_block):
        """Tasks that may share a panel of a block, as runtime/cuda/steps.c has it."""
        most = min(rows, row_block)
        return PANEL_PARTS * (most if most <= LONE_ROWS else ceil(most, PART_ROWS))

    def splits(self, blocks, most):
        """Tasks that a block's columns are shared by, as runtime/cuda/steps.c has it."""
        wanted = WAVES * self.machine.multiprocessors
        return 1 if blocks >= wanted else max(1, min(most, ceil(wanted, blocks)))

    def gained(self, room):
        """How much sooner a launch may begin that does not wait for the one before. It begins no sooner than a launch behind that, and, where that leaves no room (both have parts of the
        multiprocessors'), when that ends; what waits goes on a launch behind its end."""
        starts = self.launch - self.latest_seconds
        return max(self.launch - (max(starts, 0.0) if self.latest_room + room > 1 else starts), 0.0)

    def streamed(self, way, found, tasks, at_once, longest, slots, l1, l2, early=None):
        """at_once: tasks that a multiprocessor has room for; longest: cycles of one; slots, l1, l2: issue slots, cycles of the first-level cache and bytes of the second of all.
        early: what is read before the launch before has ended; cycles until the first weights are asked for, their bytes, and cycles of an epilogue."""
        machine = self.machine
        all_l1 = min(machine.multiprocessors, tasks) * machine.light_clock # of those that have a task
        room = at_once * machine.multiprocessors
        times = {"memory": (found["weight_bytes"] + found["row_bytes"]) / (machine.copy * STREAM), "the second-level cache": l2 / (machine.l2_bytes * all_l1),
                 "the first-level cache and shared memory": l1 / all_l1, "issue slots": slots / (SCHEDULERS * all_l1),
                 "waits": ceil(tasks, room) * longest / machine.light_clock}
        filled = ("memory", "the second-level cache") if way == "f32 few" else tuple(term for term in times if term != "waits")
        spent = {term: seconds + (RAMP if term in filled else 0) for term, seconds in times.items()} # of others the first loads are counted
        level, head, asked, tail = early or (EARLY_NOTHING, 0, 0, 0)
        gained = self.gained(tasks / room)
        saved = dict.fromkeys(spent, 0.0)
        if level == EARLY_WEIGHTS:
            saved = {term: min(gained, asked / (machine.copy * STREAM) if term == "memory" else (head + sass.LATENCY_OF_BUSY_MEMORY) / machine.light_clock) for term in spent}
        elif level == EARLY_ALL:
            saved = {term: min(gained, self.launch) if term == "memory" else gained for term in spent}
        ends = {term: self.launch + spent[term] - saved[term] for term in spent}
        limit = max(ends, key=ends.get)
        seconds = max(ends[limit], self.launch + tail / machine.light_clock)
        return {"way": way, "tiles": tasks, "waves": tasks / room, "seconds": seconds, "limit": limit, "terms": times, "early": level}

    def is_few(self, step, rows):
        a, blocks = step.attributes, step.operands.get("blocks")
        most = FEW_MOST * plan.block_bound(sum(rows), a["schedule"]["row_block"], self.groupings[blocks["name"]][1] if blocks else 1)
        return sum(rows) <= (most if blocks else max(most, FEW_VALUES // a["n"]))

    def f32_few(self, step, kernel, rows, found):
        a = step.attributes
        width, panels = FEW_NARROW_STEP if is_narrow(a) else PANEL, ceil(a["n"], PANEL)
        steps, halves, phases = ceil(a["n"], width), columns_of(step)[0] / panels, FEW_SUMS // (FEW_ROWS * width)
        loops = [loop for loop in kernel.loops_with("FFMA", "FMUL") if loop.mix["LDG"] and not loop.within and loop.mix["FFMA"] >= FEW_ROWS * 4 and not loop.mix["BAR"]]
        if not loops:
            raise ModelError(f"{kernel.name} has no loop of products of few rows")
        main, rest = (pick(loops, key=lambda each: each.mix["FFMA"]) for pick in (max, min)) # of several rows of depth at a time, and of one where some are left
        loads = sum(i.opcode.startswith("LDG.E.128") for i in main.way())
        times = a["k"] // (phases * loads), ceil(a["k"] % (phases * loads), phases)
        around = kernel.around(main)
        of_step = around.way(through=main)
        cycles = halves * (times[0] * sass.cycles_of_one_more(main.way(), loads) + times[1] * sass.cycles_of_one_more(rest.way(), 1) + sass.cycles_of_one_more(of_step))
        row_block = a["schedule"]["row_block"]
        bound = plan.block_bound(sum(rows), row_block, self.groupings[step.operands["blocks"]["name"]][1] if step.operands.get("blocks") else 1)
        splits = self.splits(bound, panels * self.parts_of(sum(rows), row_block))
        shares = [steps * (block_rows if is_narrow(a) and splits >= steps * block_rows else ceil(block_rows, FEW_ROWS)) for block_rows in plan.cut_rows(rows, row_block)]
        once = sum(len(way) * count for way, count in ((main.way(), times[0]), (rest.way(), times[1]), (of_step, 1)))
        lines = LANES_BYTES // (width * 4) + FEW_ROWS # of a warp's load of weights, and of what it loads of each row
        weights = halves * a["k"] * width * 4
        return self.streamed("f32 few", {**found, "weight_bytes": weights * steps * len(shares)}, sum(min(splits, share) for share in shares),
                             kernel.blocks_at_once(F32_THREADS, FEW_SHARED), max(ceil(share, splits) for share in shares) * cycles,
                             sum(shares) * halves * F32_THREADS // WARP * once, sum(shares) * weights / LANES_BYTES * lines, sum(shares) * weights + steps * sum(rows) * a["k"] * 4)

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
        return {"way": "f32 tiles", "tiles": blocks, "waves": blocks / machine.multiprocessors, "seconds": seconds + self.launch, "limit": "a block's loop over depth"}

    # ---- the rest ----

    def rows(self, step):
        """Bytes of what is read and written; where several rows are made of one, or one of several, of those there are. Steps of ROW_TRIPS: a warp's way, too."""
        rows, n = self.rows_of(step), step.attributes.get("n", 0)
        read, written = ROW_STEPS[step.op](step, rows, n)
        times = {"memory": (read + written) / (self.machine.copy * SCATTERED)}
        if step.op == "combine":
            times.update(self.combine_times(step, rows, read + written))
        elif step.op == "route_topk":
            times.update(self.routing_times(step, rows))
        elif step.op in ROW_TRIPS:
            kernel, (block_rows, trips) = self.kernel(step), ROW_TRIPS[step.op](step)
            room = kernel.blocks_at_once(ROW_THREADS, 0) * self.machine.multiprocessors
            times["a warp's way"] = ceil(ceil(rows, block_rows), room) * kernel.cycles_of_a_warp(trips) / self.machine.light_clock
        if step.op in ("combine", "route_topk") and self.latest: # they wait behind what needs no memory
            times["a warp's way"] -= min(self.kernel(step).cycles_before_wait() / self.machine.light_clock, self.gained(0.0))
        limit = max(times, key=times.get)
        return {"rows": rows, "flops": 0, "weight_bytes": 0, "row_bytes": read + written, "way": "rows", "tiles": 0, "waves": 0, "seconds": times[limit] + self.launch,
                "limit": limit}

    def combine_times(self, step, rows, moved):
        """Several tasks take turns at a row's columns where rows are few. A warp's way through one, as often as they come; and what goes to the multiprocessor that has most of them."""
        kernel, machine, top_k = self.kernel(step), self.machine, step.attributes["top_k"]
        columns = ROW_THREADS * max(1, min(COMBINE_COLUMNS, COMBINE_SLOTS // top_k))
        parts = ceil(step.attributes["n"], columns)
        splits = self.splits(rows, parts)

        def trips(loop, depth): # of columns the loop that stores them; of slots, of more than two readings, one within
            return ceil(parts, splits) if loop.mix["STG"] else top_k // COMBINE_SLOTS - 1 if loop.mix["LDG"] else 1

        room = kernel.blocks_at_once(ROW_THREADS, 0) * machine.multiprocessors
        return {"a warp's way": ceil(rows * splits, room) * kernel.cycles_of_a_warp(trips) / machine.light_clock,
                "the second-level cache": moved / (rows * splits) * ceil(rows * splits, machine.multiprocessors) / (machine.l2_bytes * machine.light_clock)}

    def routing_times(self, step, rows):
        """A warp a token. Where rows are not grouped as well, nothing is behind a barrier."""
        kernel, groups = self.kernel(step), self.groups_what_it_chooses(step)
        avoid = frozenset() if groups else frozenset(block for block in kernel.blocks if block.kinds["BAR"])
        trips = _route_trips(step, groups)
        room = kernel.blocks_at_once(ROUTE_THREADS, 0) * self.machine.multiprocessors
        slots = rows * kernel.instructions_of_a_warp(trips, avoid) / (SCHEDULERS * self.machine.multiprocessors)
        return {"a warp's way": ceil(ceil(rows, ROUTE_WARPS), room) * kernel.cycles_of_a_warp(trips, avoid) / self.machine.light_clock, "issue slots": slots / self.machine.light_clock}

    def tokens_step(self, step):
        """A thread a token, which goes through the mask of its row where it counts what is real; or a warp."""
        code, reach = TOKEN_STEPS[step.op], self.past + self.tokens if plan.is_decoding(self.entry) else self.tokens
        kernel = self.kernels[code]
        def trips(loop, depth):
            loads = max(1, loop.mix["LDG"])
            return ceil(reach, loads * (WARP if kernel.count("SHFL", "REDUX") else 1)) if loop.mix["LDG"] and step.op == "positions" else 1

        rows = self.rows_of(step) or self.tokens
        return {"rows": rows, "flops": 0, "weight_bytes": 0, "row_bytes": 8 * rows, "way": "tokens", "tiles": 0, "waves": 0,
                "seconds": self.launch + kernel.cycles_of_a_warp(trips) / self.machine.light_clock, "limit": "a warp's way"}

    def cycles_of_a_row(self, name):
        """Of the loop over rows, which is the one that loads most: it may take several rows a time."""
        loop = max((loop for loop in self.kernels[name].loops if loop.mix["LDG"]), key=lambda each: each.mix["LDG"])
        return sass.cycles_of_one_more(loop.way()) / loop.mix["LDG"]

    def ranking_trips(self, rows, top_k):
        """Of loops over tokens that which counts ranks and that over chunks of them; within, a set's members, each of which is compared with all, several or one at a time."""
        def trips(loop, depth):
            if not depth:
                return ceil(rows, GROUP_THREADS) if loop.mix["ATOMS"] else ceil(rows, SETS_ROWS) if loop.mix["BAR"] else 1
            return top_k // (loop.mix["LDG"] // 2) if loop.mix["LDG"] > 2 and not loop.within else top_k

        return trips

    def grouping(self, step):
        """Every block of threads goes through all rows; a loop of its code a row, or as many rows as it has threads."""
        code, rows, seconds = CODE_OF[step.op], self.rows_of(step), 0.0
        if step.op == "group_tokens" and not step.attributes["capacity"] and self.before and self.groups_what_it_chooses(self.before):
            return {"rows": rows, "flops": 0, "weight_bytes": 0, "row_bytes": 0, "way": "with the choice", "tiles": 0, "waves": 0, "seconds": 0.0, "limit": "nothing of its own"}
        if step.attributes.get("capacity"):
            for name in CAPACITY_CODE + (("hmoe_group_history",) if "history" in step.operands else ()):
                seconds += self.launch + self.kernels[name].cycles_of_a_warp(lambda loop, depth: 1 if depth else ceil(rows, GROUP_THREADS)) / self.machine.light_clock
        elif step.op == "group_tokens":
            for name in code: # loops within that over chunks of rows, which has barriers, are over rows of earlier runs; the others over experts, and over blocks
                chunks = [loop for loop in self.kernels[name].loops if loop.mix["BAR"]]
                past = [loop for chunk in chunks for loop in chunk.within]
                cycles = self.kernels[name].cycles_of_a_warp(lambda loop, depth, chunks=chunks, past=past:
                                                             ceil(rows, GROUP_ROWS) if loop in chunks or loop.mix["ATOMS"] else int(loop not in past))
                seconds += self.launch + cycles / self.machine.light_clock
        if seconds:
            return {"rows": rows, "flops": 0, "weight_bytes": 0, "row_bytes": 16 * rows, "way": "grouping", "tiles": 0, "waves": 0, "seconds": seconds, "limit": "a warp's way"}
        if step.op == "group_selections":
            ranked = step.attributes["mode"] == "rank" and math.comb(step.attributes["experts"], step.attributes["top_k"]) <= RANKED_SETS and rows <= RANKED_TOKENS
            code = (SETS_TOKEN,) if step.attributes["mode"] == "token" else (SETS_FEW,) if rows <= SETS_PART else (SETS_ONCE,) if ranked else code
        words = step.attributes["top_k"] if step.attributes.get("mode") == "distinct" else 1 # of a key
        mates = min(rows, SETS_PART) * words
        rounds = ceil(ceil(rows, SETS_PART), WARP) * ceil(rows, self.machine.multiprocessors * SETS_WARPS)
        for name in code:
            if name == SETS_ONCE:
                seconds += self.launch + self.kernels[name].cycles_of_a_warp(self.ranking_trips(rows, step.attributes["top_k"])) / self.machine.light_clock
                continue
            trips = {SETS_FEW: mates, "hmoe_sets_sort": mates, "hmoe_sets_place": rounds * SETS_HALVES * 2 * words, "hmoe_sets_block": ceil(rows, SETS_ROWS), SETS_TOKEN: 1}
            seconds += self.launch + trips.get(name, ceil(rows, GROUP_THREADS)) * self.cycles_of_a_row(name) / self.machine.light_clock
        return {"rows": rows, "flops": 0, "weight_bytes": 0, "row_bytes": 16 * rows, "way": "grouping", "tiles": 0, "waves": 0, "seconds": seconds, "limit": "a block's loop over rows"}


def port_cycles(instruction, lines):
    """Cycles of the first-level cache, or of shared memory, that a warp's access takes. lines: that a load from global memory touches at least."""
    kind = sass.kind(instruction)
    if kind not in ("LDS", "STS", "LDG", "STG", "LDGSTS", "LDSM"):
        return 0
    wide = 4 if ".128" in instruction.opcode else 2 if ".64" in instruction.opcode else 1
    return max(wide, lines) if kind == "LDG" else wide


def _route_trips(step, groups):
    """In the loop over rows, of which a warp has one: rounds, one at a time where logits are read again, else as many as they have reductions, and those that are left are in no loop; what goes over a
    row's experts, or gates, as many at a time as it loads. Loops beside it group: over experts, several at a time where they clear, and over an expert's blocks, of which it has one."""
    experts, top_k = step.attributes["experts"], step.attributes["top_k"]

    def is_of_rows(loop):
        return loop.mix["REDUX"] or any(map(is_of_rows, loop.within))

    def trips(loop, depth):
        if is_of_rows(loop):
            return 1 if not depth else top_k if loop.within else top_k // loop.mix["REDUX"]
        if loop.mix["LDG"]:
            return ceil(top_k if loop.mix["STG"] else experts, WARP * loop.mix["LDG"])
        if not groups:
            return 0
        return ceil(experts, ROUTE_THREADS) if loop.mix["BAR"] else 1 if loop.mix["STG"] else ceil(experts, ROUTE_THREADS * loop.mix["STS"])

    return trips


def _pack(step, rows, n):
    return rows * n * 4, rows * n * 2


def _combine(step, rows, n):
    return rows * step.attributes["top_k"] * n * 4, rows * n * 4


def _rows_trips(width):
    """A warp a row, a lane every 32nd column of the loops within: as many at one time as they store, or load."""
    return lambda step: (ROW_WARPS, lambda loop, depth: 1 if not depth else ceil(width(step), WARP * max(1, loop.mix["STG"] or loop.mix["LDG"])))


def _n(step):
    return step.attributes["n"]


def _stored(step):
    return step.attributes["heads"] * ceil(step.attributes["head_size"], PANEL) * PANEL


def _embed(step, rows, n):
    return rows * n * (plan.ELEMENT_BYTES[step.attributes["format"]] + (4 if step.attributes["accumulate"] else 0)), rows * n * 4


# Bytes read and written of steps over rows.
ROW_STEPS = {"pack_rows": _pack, "combine": _combine, "route_topk": lambda step, rows, n: (rows * step.attributes["experts"] * 4, rows * step.attributes["top_k"] * 8),
             "norm_rows": lambda step, rows, n: (rows * n * 4, rows * n * 4), "map_rows": lambda step, rows, n: (rows * n * 4, rows * n * 4), "embed_rows": _embed,
             "store_kv": lambda step, rows, n: (2 * rows * _stored(step) * 4, 2 * rows * _stored(step) * 4),
             "select_embedding": lambda step, rows, n: (rows * step.attributes["experts"] * step.attributes["embedding"] * 4, rows * step.attributes["embedding"] * 4)}
# Steps whose warps are long at a row: rows of a block of threads, and how often it goes round a loop.
ROW_TRIPS = {"norm_rows": _rows_trips(_n), "map_rows": _rows_trips(_n), "embed_rows": _rows_trips(_n),
             "store_kv": _rows_trips(_stored)}
TOKEN_STEPS = {"check_ids": "hmoe_ids", "positions": "hmoe_positions", "last_rows": "hmoe_last_rows", "append_mask": "hmoe_append_mask"}
