"""gpu_report_parts.py TOOLS: the parts of tools/gpu-report on machine code and plans that are written here: what a rule forbids is seen, and nothing else."""
import collections
import sys
import types

sys.path.insert(0, sys.argv[1])
from gpu_report import attention, model, plan, rules, sass

HGMMA = "HGMMA.64x256x16.F32.BF16 R24,gdesc[UR4],R24"
LOOP = ["SYNCS.PHASECHK.TRANS64.TRYWAIT P0,[UR8],RZ", "!P0 BRA 0x130", "WARPGROUP.ARRIVE", HGMMA, "UIADD3 UR4,UR4,0x2,URZ", HGMMA, HGMMA, HGMMA + ",gsb0",
        "WARPGROUP.DEPBAR.LE gsb0,0x1", "SYNCS.ARRIVE.TRANS64 RZ,[UR9],RZ", "P1 BRA 0x10"]


def kernel(lines, stall=2):
    """Of lines `[PREDICATE] OPCODE OPERANDS`, all with the same stall."""
    instructions = []
    for line in lines:
        words = line.split(" ")
        predicate = "@" + words.pop(0) if words[0].lstrip("!") in ("P0", "P1") else ""
        instructions.append(sass.Instruction(16 * len(instructions), predicate, words[0], " ".join(words[1:]), stall, 7, 7, 0))
    return sass.Kernel("k", instructions)


def product(loop, stall=2):
    """A loop over tiles from 0x0 on, with that loop in it from 0x10 on, a store, an end, and at 0x130 what waits longer."""
    lines = ["MOV R1,R2"] + loop
    return kernel(lines + ["NOP "] * (15 - len(lines)) + ["STG.E [R2.64],R3", "P0 BRA 0x0", "EXIT ", "NOP ", "SYNCS.PHASECHK.TRANS64.TRYWAIT P0,[UR8],RZ", "!P0 BRA 0x130",
                                                          "BRA 0x30"], stall)


def expect(found, wanted, what):
    if found != wanted:
        sys.exit(f"{what}: expected {wanted}, found {found}")


def with_line(number, line):
    return LOOP[:number] + [line] + LOOP[number + 1:]


# Loops: the one over depth, with what waits behind the kernel's end in it, within the one over tiles.
good = product(LOOP)
(main,) = good.loops_with("HGMMA")
expect([i.address for i in main.body], [16 * n for n in range(1, 12)] + [0x150], "the loop over depth")
expect((len(main.within), main.hgmma_runs(), main.batch_waits(), main.tensor_cycles, main.stall_cycles), (1, [4], [1], 512, 24), "its figures")
tiles = good.around(main)
expect([tiles.mix["STG"], tiles.mix["HGMMA"], len(tiles.within)], [1, 0, 2], "the loop over tiles")
expect([i.opcode for i in tiles.way(through=main)], ["MOV"] + ["NOP"] * 3 + ["STG.E", "BRA"], "the way round it")

# Rules.
BROKEN = [(LOOP, 2, []), (with_line(4, "WARPGROUP.ARRIVE"), 2, ["has runs of 1, 3 HGMMA in its loop, expected 4"]),
          (with_line(4, "LDS R3,[R4]"), 2, ["has runs of 1, 3 HGMMA in its loop, expected 4"]), (with_line(5, "NOP "), 2, ["has runs of 3 HGMMA in its loop, expected 4"]),
          (with_line(8, "WARPGROUP.DEPBAR.LE gsb0,0x0"), 2, ["waits in its loop until 0 batches are on the way, expected 1"]),
          (with_line(9, "LDL R3,[R1]"), 2, ["has 1 accesses of local memory"]), (with_line(9, "STL [R1],R3"), 2, ["has 1 accesses of local memory"])]
for lines, stall, wanted in BROKEN:
    expect(list(rules.broken(product(lines, stall))), wanted, "rules broken")
slow = kernel(["MOV R1,R2"] + LOOP[:1] + ["NOP "] * 15 + LOOP[2:10] + ["P1 BRA 0x10", "EXIT "], 11)
expect(list(rules.broken(slow)), ["takes 0.54 of the time that tensor cores are busy to issue its loop, expected less than 0.5"], "a loop that is slow to issue")

# Cycles: distances of the control bits, and waits for scoreboards.
load = sass.Instruction(0, "", "LDG.E", "R2,[R4.64]", 1, 0, 7, 0)
use = sass.Instruction(16, "", "FADD", "R3,R2,R2", 4, 7, 7, 1)
near, use_near = load._replace(writes=1), use._replace(waits=2)
expect([sass.cycles([load, use]), sass.cycles([load, use], far=1), sass.cycles([load, near, use_near], far=1), sass.cycles([use, use])], [274, 804, 275, 8], "cycles")
expect([sass.tensor_cycles(sass.Instruction(0, "", op, "", 1, 7, 7, 0)) for op in ("HGMMA.64x32x16.F32.BF16", "HMMA.16816.F32.BF16", "FFMA")], [16, 2, 0], "tensor cycles")


def copies(groups_left):
    return [sass.Instruction(16 * n, "", op, operands, 1, 7, 7, 0)
            for n, (op, operands) in enumerate([("LDGSTS.E.BYPASS.128", "[R1],[R2.64]"), ("LDGDEPBAR", ""), ("DEPBAR.LE", f"SB0,{groups_left}")])]


# Asynchronous copies: a wait is for all groups but the last ones, and copies of earlier rounds are on the way while those of later ones are issued.
expect([sass.cycles(copies("0x0")), sass.cycles(copies("0x1")), sass.cycles(copies("0x1"), 2), sass.cycles(copies("0x3"), 2)], [1231, 3, 1231, 6], "cycles of copies")
expect([sass.cycles_of_one_more(tuple(copies(left))) for left in ("0x0", "0x1")], [1231, 1231 / 2], "a copy more")

# A kernel as a whole: what is run once, and loops as often as they are gone round.
whole = kernel(["MOV R1,R2", "FADD R3,R3,R3", "LDG.E R2,[R9.64]", "P0 BRA 0x20", "P1 BRA 0x10", "EXIT "])
expect([whole.cycles_of_a_warp(lambda loop, depth: (3, 5)[depth]), whole.registers], [4 + 3 * (4 + 5 * 4), 10], "a warp's way through a kernel")
expect(whole.instructions_of_a_warp(lambda loop, depth: (3, 5)[depth]), 2 + 3 * (2 + 5 * 2), "instructions of a warp's way")
past = kernel(["P0 BRA 0x20", "BAR.SYNC 0x0", "EXIT "])
expect([past.instructions_of_a_warp(None, frozenset(avoid)) for avoid in ((), past.blocks[1:2])], [3, 2], "a way past a barrier")
expect([whole.blocks_at_once(*block) for block in ((128, 0), (128, 98 << 10), (256, 227 << 10), (1024, 1 << 10))], [16, 2, 1, 2], "blocks of threads at once")
expect([model.port_cycles(sass.Instruction(0, "", op, "", 1, 7, 7, 0), 8) for op in ("LDG.E.128", "LDG.E", "LDS.128", "STS.64", "LDS", "LDGSTS.E.BYPASS.128", "FADD")],
       [8, 8, 4, 2, 1, 4, 0], "cycles of the first-level cache")



def loop(within=(), **mix):
    return types.SimpleNamespace(mix=collections.Counter(mix), within=within)


# How often a warp that routes goes round its loops: rows, rounds, experts that are read again, gates; those that group go over experts and their blocks.
ROUTES = [(loop(REDUX=6), 0), (loop(REDUX=2), 1), (loop([loop(LDG=1)], REDUX=3), 1), (loop(LDG=4), 2), (loop(LDG=1, STG=1), 1), (loop(BAR=2, STS=3), 0), (loop(STG=4), 1), (loop(STS=4), 0)]
for groups, wanted in ((True, [1, 3, 6, 3, 1, 2, 1, 1]), (False, [1, 3, 6, 3, 1, 0, 0, 0])):
    trips = model._route_trips(types.SimpleNamespace(attributes={"experts": 300, "top_k": 6}), groups)
    expect([trips(*each) for each in ROUTES], wanted, "trips of routing")

# A jump that warps take whose lanes have gone apart is none of a way's: what it leads to is run by nobody.
apart = kernel(["MOV R1,R2", "BRA.DIV UR4,0x50", "FADD R3,R3,R3", "P0 BRA 0x0", "EXIT ", "LDG.E R2,[R9.64]", "BRA 0x20"])
(main,) = apart.loops
expect([i.opcode for i in main.way()], ["MOV", "BRA.DIV", "FADD", "BRA"], "a way past lanes that have gone apart")

# Plans.
TEXT = '''module {
  func.func @open() attributes {hmk.dims = array<i64>} {
    "hmk.pack"() {bind = []} : () -> ()
  }
  func.func @run() attributes {hmk.dim_names = ["tokens"], hmk.dims = array<i64: 0, 0, 0, 1, 0, 2>} {
    %0 = "hmk.buffer"() {element = "f32", key = "a, {b}", layout = {row_bytes = 8 : i64}, in_place} : () -> !hmk.memory
    "hmk.group_tokens"(%0) {bind = ["blocks"], experts = 4 : i64, top_k = 2 : i64, rows = 1 : i64} : (!hmk.memory) -> ()
    "hmk.choose"(%0) {bind = ["blocks"], first = 1 : i64, second = 2 : i64, rows = 1 : i64, schedule = {block_rows = 32 : i64, row_block = 128 : i64}} : (!hmk.memory) -> ()
    "hmk.first"(%0) {bind = ["a"]} : (!hmk.memory) -> ()
    "hmk.second"(%0) {bind = ["a"]} : (!hmk.memory) -> ()
    "hmk.second"(%0) {bind = ["a"], norm_epsilon = 1.000000e-05 : f64} : (!hmk.memory) -> ()
    "hmk.last"(%0) {bind = ["a"]} : (!hmk.memory) -> ()
  }
}'''
entries = plan.parse_entries(TEXT, {"entries": [{"name": "run", "step_kernels": [None, None, 3, 4, 5, 6]}]})
expect(list(entries), ["run"], "entries")
steps = entries["run"][0]
expect(steps[0].operands["blocks"], {"name": "%0", "element": "f32", "key": "a, {b}", "layout": {"row_bytes": 8}, "in_place": True}, "a buffer")
expect(steps[4].attributes["norm_epsilon"], 1e-5, "a number")
expect([plan.dims_of(entries["run"], 7), plan.block_bound(300, 128, 8), plan.block_bound(3, 128, 8), plan.blocks_of([1, 128, 129], 128)], [[7, 14], 10, 3, 4], "dims and blocks")
expect(plan.cut_rows([0, 1, 64, 65, 130], 64), [1, 64, 33, 32, 44, 43, 43], "rows of blocks")
for rows, wanted in ((4 * 128, [3, 6]), (100, [4, 5, 6])):
    taken = plan.taken_steps(steps, lambda step, rows=rows: rows, {"%0": (None, 4)})
    expect([step.kernel for step in taken[1:]], wanted, f"steps of {rows} rows")
routing = plan.Routing(1000, 4, 2)
expect([sum(routing.sets.values()), sum(routing.experts.values()), len(routing.sets), len(routing.experts)], [1000, 2000, 6, 4], "rows of groups")

# Entries that decode: rows of one token each behind others; of others the tokens are one row's.
TEXT = '''  func.func @decode() attributes {hmk.dim_names = ["length"], hmk.dims = array<i64: 0, 0, 0, 10, 0, 0, 6, 1, 0, 10, 2, 0, 10, 1, 0, 7, 3, 0, 1, 1, 4, 2, 6, 9, 8, 5, 64, 9, 5, 64, 5, 0, 3>} {
    "hmk.last_rows"() {bind = []} : () -> ()
  }
  func.func @forward() attributes {hmk.dim_names = ["batch", "length"], hmk.dims = array<i64: 0, 0, 0, 0, 1, 0, 6, 0, 1>} {
    "hmk.loop"() {bind = [], body = 4 : i64, chunk = 3 : i64, kind = "groups", rows = 2 : i64, top_k = 1 : i64} : () -> ()
    "hmk.choose"() {bind = [], first = 1 : i64, second = 1 : i64, rows = 2 : i64, schedule = {block_rows = 32 : i64, row_block = 128 : i64}} : () -> ()
    "hmk.first"() {bind = []} : () -> ()
    "hmk.second"() {bind = []} : () -> ()
    "hmk.third"() {bind = []} : () -> ()
    "hmk.last"() {bind = []} : () -> ()
  }'''
entries = plan.parse_entries(TEXT, {"entries": [{"name": "decode", "step_kernels": [None]}, {"name": "forward", "step_kernels": [None, None, 1, 2, 3, 4]}]})
expect(plan.dims_of(entries["decode"], 2, 1000), [1, 2, 2, 1000, 1024, 1001, 8, 8, 1024, 16, 3], "dims of two rows behind a thousand tokens")
expect(plan.dims_of(entries["forward"], 7, 1000), [1, 7, 7], "dims of a prompt")
expect([[len(each.body) if isinstance(each, plan.Loop) else each.kernel for each in plan.taken_steps(entries["forward"].steps, lambda step, rows=rows: rows, {})] for rows in (4, 4096)],
       [[2, 4], [2, 4]], "a loop and what is in it")
expect([[step.kernel for step in plan.taken_steps(entries["forward"].steps, lambda step, rows=rows: rows, {})[0].body] for rows in (4, 4096)], [[2, 3], [1, 3]], "the ways of a loop")

# Attention: few queries, a warp a tile of 64 keys, and what shared keys gave; many, tiles of keys with loops over depth and keys in them.
ATTENTION = (["LDG.E R2,[R4.64]"] * 4 + ["SHFL.IDX R3,R2,R5,0x1f", "LDG.E R2,[R4.64]", "P0 BRA 0x40", "BAR.SYNC 0x0", "LDS R2,[R3]", "P0 BRA 0x80", "BAR.SYNC 0x0", "P1 BRA 0x0"] +
       ["MOV R1,R2", "LDG.E R2,[R4.64]", "SHFL.UP R3,R2,0x1,RZ", "LDG.E R2,[R4.64]", "SHFL.IDX R3,R2,R5,0x1f", "P0 BRA 0xf0", "P0 BRA 0xd0", "P1 BRA 0xc0"] +
       ["LDGSTS.E.BYPASS.128 [R1],[R2.64]"] + ["FFMA R3,R4,R5,R6"] * 8 + ["P0 BRA 0x150", "FSEL R3,R4,R5,P0", "FFMA R3,R4,R5,R6", "P0 BRA 0x1e0", "P1 BRA 0x140", "EXIT "])
attend = kernel(ATTENTION)


class Running:
    """What attention's terms ask of a run."""
    machine, entry, dims, splits = model.MACHINES["sm_90a"], entries["decode"], {}, model.Run.splits

    def dim(self, number):
        return self.dims[number]

    def kernel(self, step):
        return attend


def attended(batch, length, past, keys, entry="decode"):
    run = Running()
    run.entry, run.dims = entries[entry], {0: batch, 1: length, 2: past, 3: keys, 4: keys, 5: batch, 6: keys}
    step = plan.Step("attention", {}, {"dims": list(range(7)), "heads": 12, "head_size": 64, "causal": 1, "schedule": {"query_block": 64}}, 6)
    return attention.figures(run, step)


one, eight, alone, rows, prompt, longer = (attended(*shape) for shape in ((1, 1, 500, 501), (1, 1, 4000, 4001), (1, 1, 4000, 4001, "forward"), (64, 1, 4000, 4001), (1, 256, 0, 256), (1, 512, 0, 512)))
expect([each["way"] for each in (one, eight, alone, rows, prompt)],
       ["few queries", "few queries, keys shared by 11", "few queries", "few queries", "many queries"], "ways of attention")
expect([each["tiles"] for each in (one, eight, rows, prompt, longer)], [12, 12 * 11, 12 * 64, 12 * 4, 12 * 8], "tasks of attention")
expect([one["flops"], prompt["flops"]], [4 * 12 * 64 * 501, 4 * 12 * 64 * 64 * (64 + 128 + 192 + 256)], "operations of attention")
expect(rows["row_bytes"], 64 * 12 * 4001 * 128 * 4 + 2 * 64 * 12 * 64 * 4, "bytes of attention")
expect([eight["seconds"] < alone["seconds"] / 2, rows["limit"], longer["seconds"] > prompt["seconds"], eight["seconds"] > one["seconds"]], [True, "memory", True, True],
       "how long attention takes")

# Launches that do not wait for the one before: what is older than that, and how much sooner they begin.
def bound(slot, kind="workspace"):
    return {"name": f"%{slot}", "kind": kind, "slot": slot}


class Following(model.Run):
    """A run behind a launch of `latest`, which took so long and had so much of the room."""
    def __init__(self, latest, seconds=0.0, room=0.0):
        self.begin()
        self.launch, self.latest, self.latest_seconds, self.latest_room = 1.1e-6, latest, seconds * 1e-6, room


weights, x, blocks, hidden = bound(-1, "weight"), bound(-1, "input"), bound(1), bound(2)
first = plan.Step("grouped_matmul", {"a": x, "b": weights, "c": hidden, "blocks": blocks}, {}, 3)
second = plan.Step("grouped_matmul", {"a": hidden, "b": weights, "c": bound(3), "blocks": blocks}, {}, 4)
groups = plan.Step("group_tokens", {"indices": bound(4), "blocks": blocks}, {}, None)
others = plan.Step("group_selections", {"indices": bound(4), "blocks": bound(5)}, {}, None)
generated = plan.Step("grouped_matmul", {"a": x, "b": bound(6), "c": bound(7), "blocks": blocks}, {}, 5)
for latest, step, wanted in (([groups], first, 0), ([others], first, 2), ([first], second, 1), ([others, groups], first, 0), ([], first, 0), ([others], generated, 2), ([generated], generated, 0),
                             ([plan.Step("pack", {"out": bound(6)}, {}, 6)], generated, 0), ([first], plan.Step("", {"a": x, "b": bound(8, "cache")}, {}, 7), 0)):
    expect(Following(latest).early(step), wanted, f"what is read early behind {[each.op for each in latest]}")
counted = Following([others])
counted.counts = True
expect(counted.early(first), 0, "what is read early where rows are counted")
expect([round(Following([first], *each).gained(0.5) * 1e6, 3) for each in ((0.0, 0.0), (0.4, 0.0), (5.0, 0.5), (5.0, 0.6), (0.4, 0.6))], [0, 0.4, 5.0, 1.1, 0.4], "what a launch gains that does not wait")
expect([model.epilogue_trips(*each) for each in ((0.5, 1), (3.5, 1), (0.5, 4), (9.0, 4))], [1, 3.5, 0, 2], "trips of an epilogue")
expect([each.cycles_before_wait() for each in (kernel(["MOV R1,R2", "MOV R1,R2", "ACQBULK ", "EXIT "]), kernel(["MOV R1,R2", "MOV R1,R2", "ACQBULK ", "P0 BRA 0x10", "ACQBULK ", "EXIT "]), kernel(["EXIT "]))],
       [4, 4, 0], "cycles before a wait")
machine = model.MACHINES["sm_90a"]
for level, memory, tail, wanted in ((0, 10, 0.5, 12.6), (1, 10, 0.5, 12.35), (2, 10, 0.5, 11.5), (2, 0.1, 2, 3.1)): # microseconds
    run = Following([first], 5.0, 0.9)
    run.machine, rate = machine, 1e-6 * machine.copy * model.STREAM
    found = run.streamed("stream", {"weight_bytes": memory * rate, "row_bytes": 0}, 4, 2, 0, 0, 0, 0, (level, 0, 0.25 * rate, tail * 1e-6 * machine.light_clock))
    expect([round(found["seconds"] * 1e6, 3), found["early"]], [wanted, level], f"a stream that reads {level} early")
