"""Machine code of a GPU as data: kernels, instructions with their control bits, loops, and the cycles a warp needs for a way through them.

An instruction of 128 bits carries what its scheduler goes by in bits 105 to 125: cycles until the next one (4 bits), a yield hint, the scoreboards that its
result and its operands are waited for by (3 bits each, 7: none), and the scoreboards that it waits for itself (6 bits). Text comes from nvdisasm, the bits
from the ELF file.
"""
import collections
import functools
import json
import re
import struct
import subprocess

# Cycles until what waits in a scoreboard is there, by the opcode's first word: published microbenchmarks of Hopper, rounded. Loads are from the second-level
# cache, but those that a caller says are from memory.
LATENCY = {"LDS": 30, "LDSM": 33, "MUFU": 24, "LDG": 270, "LDC": 40, "ULDC": 40, "SHFL": 25, "S2R": 25, "S2UR": 25, "R2UR": 12, "SYNCS": 25, "HMMA": 33, "BAR": 25, "REDUX": 25, "ATOMS": 100}
LATENCY_OF_OTHERS, LATENCY_OF_MEMORY = 20, 800
LATENCY_OF_BUSY_MEMORY = 1230 # of copies to shared memory while all of the memory's bandwidth is taken: 0.7 us
SCOREBOARDS = 6
REGISTERS, SHARED_BYTES, SHARED_OF_BLOCK, THREADS = 65536, 228 << 10, 1 << 10, 2048 # of a multiprocessor of sm_90; what a block's shared memory takes beside its own
CUDA_MACHINE, NO_BYTES = 190, 8 # of ELF: a file's machine, a section's kind
ENDS = ("EXIT", "RET", "BRX", "JMP") # nothing of the kernel follows them
# What breaks a run of HGMMA: a wait for a batch, a fence, memory, a barrier, a jump. Arithmetic on addresses does not.
BREAKS = ("WARPGROUP", "WARPGROUPSET", "SYNCS", "BAR", "DEPBAR", "FENCE", "MEMBAR", "LDS", "STS", "LDG", "STG", "LDL", "STL", "UBLKCP", "LDGSTS", "BRA", "CALL", "BSYNC")

MOST_GROUPS = 16

Instruction = collections.namedtuple("Instruction", "address predicate opcode operands stall writes reads waits")


def kind(instruction):
    return instruction.opcode.split(".")[0]


def is_jump(instruction):
    """BRA.DIV is none: it is taken by warps whose lanes have gone apart, and ours are together where they meet."""
    return kind(instruction) == "BRA" and not instruction.opcode.startswith("BRA.DIV")


def target_of(instruction):
    """Where a jump goes, None of others."""
    found = re.search(r"0x([0-9a-f]+)\s*$", instruction.operands) if is_jump(instruction) else None
    return int(found.group(1), 16) if found else None


def always_jumps(instruction):
    return is_jump(instruction) and not instruction.predicate and not re.match(r"!?U?P", instruction.operands)


def tensor_cycles(instruction):
    """How long it keeps the tensor cores of its multiprocessor: 2,048 multiply-adds a cycle by wgmma of 16-bit operands, 1,024 by mma."""
    shape = re.match(r"HGMMA\.(\d+)x(\d+)x(\d+)", instruction.opcode)
    if shape:
        m, n, k = map(int, shape.groups())
        return m * n * k // 2048
    return 2 if instruction.opcode.startswith("HMMA.16816") else 0


class Block:
    """Instructions that run one after the other; where they go from there."""

    def __init__(self, number, instructions):
        self.number, self.instructions, self.next, self.before = number, instructions, [], []
        self.kinds = collections.Counter(map(kind, instructions))


class Loop:
    """A natural loop, or, without a head, all that is run once. body: what it runs, but for loops within it."""

    def __init__(self, head, blocks):
        self.head, self.blocks, self.within = head, blocks, []

    @property
    def inner(self):
        """The loops right within it."""
        return [loop for loop in self.within if not any(loop in other.within for other in self.within)]

    def finish(self, loops):
        self.within = [other for other in loops if other is not self and other.blocks < self.blocks]
        inner = set().union(*(other.blocks for other in self.within))
        self.own = sorted((b for b in self.blocks if b not in inner), key=lambda b: b.number)
        self.body = [i for block in self.own for i in block.instructions]
        self.mix = collections.Counter(map(kind, self.body))
        self.stall_cycles = sum(i.stall for i in self.body)
        self.tensor_cycles = sum(map(tensor_cycles, self.body))

    def batch_waits(self):
        """How many batches of wgmma each wait leaves on the way."""
        return [int(i.operands.split(",")[1], 16) for i in self.body if i.opcode.startswith("WARPGROUP.DEPBAR")]

    def hgmma_runs(self):
        runs, length = [], 0
        for i in self.body:
            if kind(i) == "HGMMA":
                length += 1
            elif length and kind(i) in BREAKS:
                runs.append(length)
                length = 0
        return runs + [length] if length else runs

    @functools.lru_cache(maxsize=None)
    def way(self, through=None, avoid=frozenset()):
        """The longest way once round, by stall cycles: past calls that there is a way past, over loops within as if they ran no time, through a loop if one is
        given, and not into blocks to avoid. Its instructions, a tuple."""
        entry = {} # of loops within, the outermost: what stands for all their blocks
        for inner in sorted(self.within, key=lambda loop: len(loop.blocks)):
            for block in inner.blocks:
                entry[block] = inner
        best = {}

        def longest(node):
            """Stall cycles from a block, or a loop, to the end of the round, with what is passed; None: there is no way."""
            if node in best:
                return best[node]
            best[node] = None # a way back to where it came from is none
            nodes = node.blocks if isinstance(node, Loop) else [node]
            found = None
            for block in nodes:
                if not self.head and (not block.next or kind(block.instructions[-1]) in ENDS):
                    found = better(found, (0, 0, ()))
                for after in block.next:
                    if after in nodes and isinstance(node, Loop):
                        continue
                    if self.head and after is self.head:
                        found = better(found, (0, 0, ()))
                    elif after in self.blocks and after not in avoid:
                        found = better(found, longest(entry.get(after, after)))
            if found:
                calls = 0 if isinstance(node, Loop) else node.kinds["CALL"]
                stalls = 0 if isinstance(node, Loop) else sum(i.stall for i in node.instructions)
                bonus = 1 if node is through else 0
                found = (found[0] + bonus - calls * 0.001, found[1] + stalls, (node, found[2]))
            best[node] = found
            return found

        def better(one, other):
            if one is None or other is None:
                return one or other
            return one if one[:2] >= other[:2] else other

        begin = self.head or min(self.blocks, key=lambda block: block.number)
        passed, instructions = longest(entry.get(begin, begin)), []
        nodes = passed[2] if passed else ()
        while nodes:
            node, nodes = nodes
            if isinstance(node, Block):
                instructions += node.instructions
        return tuple(instructions)


class Kernel:
    def __init__(self, name, instructions):
        self.name, self.instructions = name, instructions
        self.blocks = self._cut()
        self.loops = self._find_loops()

    def count(self, *kinds):
        return sum(kind(i) in kinds for i in self.instructions)

    @functools.cached_property
    def registers(self):
        """How many its instructions name."""
        return 1 + max((int(number) for i in self.instructions for number in re.findall(r"\bR(\d+)", i.operands)), default=0)

    def blocks_at_once(self, threads, shared_bytes):
        """Blocks of threads that a multiprocessor has room for."""
        return max(1, min(REGISTERS // (threads * -(-self.registers // 8) * 8), SHARED_BYTES // (shared_bytes + SHARED_OF_BLOCK), THREADS // threads))

    def ways_of_a_warp(self, trips):
        """The loops' ways that a warp goes, and how often each. trips(loop, depth): how often it goes round a loop, which is within so many others, each time that it comes there."""
        def of(loop, depth, times):
            for inner in loop.inner:
                here = times * trips(inner, depth)
                yield here, inner.way()
                yield from of(inner, depth + 1, here)

        return list(of(self.whole, 0, 1))

    def cycles_of_a_warp(self, trips, avoid=frozenset()):
        """What a warp that is alone needs from the kernel's begin to its end, not into blocks to avoid."""
        return cycles(self.whole.way(avoid=avoid)) + sum(times * cycles_of_one_more(way) for times, way in self.ways_of_a_warp(trips))

    def instructions_of_a_warp(self, trips, avoid=frozenset()):
        return len(self.whole.way(avoid=avoid)) + sum(times * len(way) for times, way in self.ways_of_a_warp(trips))

    def cycles_before_wait(self):
        """Of a warp, until it first waits for the launch before."""
        for ways in ([loop.way() for loop in self.loops], [self.whole.way()]): # the innermost loops are first
            for way in ways:
                waits = [at for at, i in enumerate(way) if i.opcode == "ACQBULK"]
                if waits:
                    begins = min(i.address for i in way)
                    return cycles([i for i in self.whole.way() if i.address < begins]) + cycles(way[:waits[0]])
        return 0

    @functools.cached_property
    def whole(self):
        """All of it, as a loop without a head."""
        whole = Loop(None, frozenset(self.blocks))
        whole.finish(self.loops)
        return whole

    def loops_with(self, *kinds):
        """Loops that have such instructions themselves, the shortest first."""
        return sorted((loop for loop in self.loops if any(loop.mix[k] for k in kinds)), key=lambda loop: len(loop.body))

    def around(self, loop):
        """The least loop that holds it, None: none does."""
        return min((other for other in self.loops if loop in other.within), key=lambda other: len(other.blocks), default=None)

    def _cut(self):
        heads = {0} | {target_of(i) for i in self.instructions} | {i.address + 16 for i in self.instructions if kind(i) in ENDS + ("BRA", "CALL")}
        cuts = [n for n, i in enumerate(self.instructions) if i.address in heads] + [len(self.instructions)]
        blocks = [Block(n, self.instructions[a:b]) for n, (a, b) in enumerate(zip(cuts, cuts[1:]))]
        at = {block.instructions[0].address: block for block in blocks}
        for block, behind in zip(blocks, blocks[1:] + [None]):
            last = block.instructions[-1]
            if target_of(last) in at:
                block.next.append(at[target_of(last)])
            if behind and not always_jumps(last) and not (kind(last) in ENDS and not last.predicate):
                block.next.append(behind)
            for after in block.next:
                after.before.append(block)
        return blocks

    def _find_loops(self):
        """By dominators: a jump to a block that all ways to it pass makes a loop."""
        if not self.blocks:
            return []
        everything = (1 << len(self.blocks)) - 1
        dominators = [1] + [everything] * (len(self.blocks) - 1)
        reached, stack = {self.blocks[0]}, [self.blocks[0]]
        while stack:
            for after in stack.pop().next:
                if after not in reached:
                    reached.add(after)
                    stack.append(after)
        changed = True
        while changed:
            changed = False
            for block in self.blocks[1:]:
                if block not in reached:
                    continue
                common = everything
                for before in block.before:
                    if before in reached:
                        common &= dominators[before.number]
                common |= 1 << block.number
                changed |= common != dominators[block.number]
                dominators[block.number] = common
        bodies = {}
        for block in reached:
            for head in block.next:
                if dominators[block.number] >> head.number & 1 and (block is not head or len(block.instructions) > 1):
                    body, stack = bodies.setdefault(head, {head}), [block]
                    while stack:
                        one = stack.pop()
                        if one not in body:
                            body.add(one)
                            stack += [before for before in one.before if before in reached]
        loops = [Loop(head, frozenset(body)) for head, body in bodies.items()]
        for loop in loops:
            loop.finish(loops)
        return sorted(loops, key=lambda loop: (len(loop.blocks), loop.head.number))


def cycles(instructions, repeats=1, far=0):
    """Cycles that a warp which is alone needs for the instructions one after the other, so many times: it issues in order, keeps the distances of the control
    bits, and waits for scoreboards as long as LATENCY says. far: so many of the first loads are from memory each time."""
    now, free = 0, [0] * SCOREBOARDS
    copied, groups = 0, [] # when asynchronous copies have come: those so far, and each group of them with those before
    steps = [(kind(i), LATENCY.get(kind(i), LATENCY_OF_OTHERS), [s for s in range(SCOREBOARDS) if i.waits >> s & 1], i.writes, i.reads, max(i.stall, 1), groups_left(i))
             for i in instructions]
    for _ in range(repeats):
        left = far
        for name, latency, waits, writes, reads, stall, most in steps:
            for scoreboard in waits:
                now = max(now, free[scoreboard])
            if name == "LDG" and left:
                latency, left = LATENCY_OF_MEMORY, left - 1
            elif name == "LDGSTS":
                copied = max(copied, now + LATENCY_OF_BUSY_MEMORY)
            elif name == "LDGDEPBAR":
                groups = groups[-MOST_GROUPS:] + [copied]
            elif most is not None and len(groups) > most:
                now = max(now, groups[-1 - most])
            if writes < SCOREBOARDS:
                free[writes] = max(free[writes], now + latency)
            if reads < SCOREBOARDS:
                free[reads] = max(free[reads], now + min(latency, LATENCY_OF_OTHERS))
            now += stall
    return now


def groups_left(instruction):
    """How many groups of asynchronous copies a wait for them leaves on the way, None: it is no such wait."""
    found = re.search(r"SB0,\s*0x([0-9a-f]+)", instruction.operands) if instruction.opcode == "DEPBAR.LE" else None
    return int(found.group(1), 16) if found else None


@functools.lru_cache(maxsize=None)
def cycles_of_one_more(instructions, far=0):
    """What one time more of a tuple of instructions costs in a loop that has run for a while."""
    return (cycles(instructions, 12, far) - cycles(instructions, 4, far)) / 8


# ---- files ----


def find_cubin(elf):
    """The machine code of a GPU that an object of the host has in it."""
    at = elf.find(b"\x7fELF\x02", 1)
    while at >= 0 and struct.unpack_from("<H", elf, at + 18)[0] != CUDA_MACHINE:
        at = elf.find(b"\x7fELF\x02", at + 1)
    if at < 0:
        raise ValueError("the object has no machine code of a GPU")
    programs, sections = struct.unpack_from("<QQ", elf, at + 32)
    program_bytes, program_count, section_bytes, section_count = struct.unpack_from("<HHHH", elf, at + 54)
    headers = [struct.unpack_from("<IIQQQQ", elf, at + sections + n * section_bytes) for n in range(section_count)]
    ends = [offset + size for _, section_kind, _, _, offset, size in headers if section_kind != NO_BYTES]
    return elf[at:at + max(ends + [programs + program_bytes * program_count, sections + section_bytes * section_count])]


def functions_of(elf):
    """Names of an ELF file's functions, and the code of each."""
    if elf[:5] != b"\x7fELF\x02":
        raise ValueError("expected a 64-bit ELF file")
    table, (entry_size, count) = struct.unpack_from("<Q", elf, 40)[0], struct.unpack_from("<HH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQII", elf, table + n * entry_size) for n in range(count)]
    for _, section_kind, _, _, at, size, names, _ in headers:
        for symbol in range(at, at + size if section_kind == 2 else at, 24):
            name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", elf, symbol)
            if info & 15 == 2 and 0 < section < count:
                begin, code = headers[names][4] + name, headers[section][4] + value
                yield elf[begin:elf.index(b"\0", begin)].decode(), elf[code:code + length]


def read_kernels(cubin, text):
    """The kernels of a cubin, by their names, given what `nvdisasm -json` says of it; what a kernel calls lies behind its own code, and is listed behind it."""
    code, found = dict(functions_of(cubin)), {}
    instructions = name = None
    for function in json.loads(text)[1]:
        if not function["function-name"].startswith("$"):
            name = function["function-name"]
            instructions = found[name] = []
        if instructions is None or function["start"] != 16 * len(instructions):
            raise ValueError(f"the disassembly of {function['function-name']} does not follow what is before it")
        for line in function["sass-instructions"]:
            at = 16 * len(instructions)
            if at + 16 > len(code.get(name, b"")):
                raise ValueError(f"the disassembly of {name} is not that of the file")
            bits = struct.unpack_from("<Q", code[name], at + 8)[0] >> 41
            instructions.append(Instruction(at, line.get("predicate", ""), line["opcode"], line.get("operands", ""), bits & 15, bits >> 5 & 7, bits >> 8 & 7,
                                            bits >> 11 & 63))
    return {each: Kernel(each, listed) for each, listed in found.items()}


def disassemble(nvdisasm, path):
    found = subprocess.run([nvdisasm, "-json", path], capture_output=True, text=True, check=False)
    if found.returncode:
        says = (found.stderr or found.stdout).strip().splitlines() or ["nothing"]
        raise OSError(f"{nvdisasm} fails on {path} and says '{says[0]}'")
    with open(path, "rb") as file:
        return read_kernels(file.read(), found.stdout)
