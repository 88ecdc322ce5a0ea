"""What a compiled model does, as `hmoec compile --emit hmk` writes it: steps with the buffers they touch, and how many rows each has of a run.

Rows of a group are those of tokens that choose their experts at random, each set of top_k experts as likely as any other, from a fixed seed.
"""
import collections
import json
import random
import re

ELEMENT_BYTES = {"f32": 4, "i32": 4, "i64": 8, "bf16": 2, "i8": 1, "u8": 1}
# Of include/hmoe/abi.h.
DIM_INPUT, DIM_SCALE, DIM_MIN, DIM_CHUNK, DIM_MISSING, DIM_CONST, DIM_PRODUCT, DIM_SUM, DIM_ROUND_UP, DIM_CEIL_DIV, DIM_STATE = range(11)
STATE_ROWS, STATE_CAPACITY, STATE_LENGTH = range(3)
POSITIONS = 32 # that a state has room for a multiple of

Step = collections.namedtuple("Step", "op operands attributes kernel")
Loop = collections.namedtuple("Loop", "step body") # body: steps, and loops
Entry = collections.namedtuple("Entry", "steps dims names")


class PlanError(Exception):
    """What of a plan is not understood here."""


def parse_value(text):
    """An attribute: numbers, texts, lists, `array<i64: ..>` and dictionaries; what else there is stays text."""
    text = text.strip()
    if text.startswith("{"):
        return parse_attributes(text[1:-1])
    if text.startswith("array<"):
        return [int(v) for v in text[len("array<i64"):-1].lstrip(": ").split(",") if v.strip()]
    if text.startswith("["):
        return [parse_value(v) for v in split_commas(text[1:-1])]
    text = re.sub(r" : [if]\d+$", "", text)
    if text.startswith('"'):
        return text[1:-1]
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def split_commas(text):
    """The parts between commas that no bracket and no quotes hold."""
    parts, depth, quoted, begin = [], 0, False, 0
    for at, letter in enumerate(text):
        if letter == '"' and text[at - 1:at] != "\\":
            quoted = not quoted
        elif not quoted and letter in "[{<(":
            depth += 1
        elif not quoted and letter in "]})>":
            depth -= 1
        elif not quoted and not depth and letter == ",":
            parts.append(text[begin:at])
            begin = at + 1
    return [part for part in parts + [text[begin:]] if part.strip()]


def parse_attributes(text):
    found = {}
    for part in split_commas(text):
        name, equals, value = part.partition(" = ")
        found[name.strip()] = parse_value(value) if equals else True
    return found


def parse_entries(text, manifest):
    """Entries but @open, by their names. manifest: says which kernel runs a step."""
    entries, steps, buffers, name = {}, None, {}, None
    kernels = {entry["name"]: entry["step_kernels"] for entry in manifest["entries"]}
    for line in text.splitlines():
        head = re.match(r"\s*func\.func @(\w+)\(\) attributes \{(.*)\} \{$", line)
        op = re.match(r'\s*(?:(%\d+) = )?"hmk\.(\w+)"\(([^)]*)\) \{(.*)\} : \(', line)
        if head:
            name, buffers, steps = head.group(1), {}, []
            attributes = parse_attributes(head.group(2))
            dims = attributes.get("hmk.dims", [])
            entries[name] = Entry(steps, [tuple(dims[i:i + 3]) for i in range(0, len(dims), 3)], attributes.get("hmk.dim_names", []))
        elif op and op.group(2) == "buffer":
            buffers[op.group(1)] = {"name": op.group(1), **parse_attributes(op.group(4))}
        elif op:
            attributes = parse_attributes(op.group(4))
            operands = {role: buffers[value.strip()] for role, value in zip(attributes.get("bind", []), op.group(3).split(","))}
            numbers = kernels.get(name)
            steps.append(Step(op.group(2), operands, attributes, numbers[len(steps)] if numbers else None))
    entries.pop("open", None)
    return entries


def dims_of(entry, tokens, past=0, chunk=0):
    """Values of an entry's dims. An entry is given so many tokens: of one row, but where it decodes, of as many rows, a token each, that have `past` tokens already, as has
    the source. chunk: rows, or groups, of the chunk at hand, 0: in no loop, where there are none."""
    decodes, values = is_decoding(entry), []
    for kind, source, value in entry.dims:
        if kind == DIM_INPUT:
            name = entry.names[source] if source < len(entry.names) else ""
            values.append(1 if decodes or name == "batch" else tokens)
        elif kind == DIM_STATE:
            values.append((tokens if decodes else 1, ceil_to((past if decodes else 0) + 1, POSITIONS), past if decodes else 0)[source % 3])
        elif kind in (DIM_CHUNK, DIM_MISSING):
            values.append(min(chunk, value))
        else:
            of, other = values[source], values[value] if kind in (DIM_PRODUCT, DIM_SUM) else value
            values.append({DIM_SCALE: lambda: of * value, DIM_MIN: lambda: min(of, value), DIM_CONST: lambda: value, DIM_PRODUCT: lambda: of * other, DIM_SUM: lambda: of + other,
                           DIM_ROUND_UP: lambda: ceil_to(of, value), DIM_CEIL_DIV: lambda: ceil_to(of, value) // value}[kind]())
    return values


def is_decoding(entry):
    """Whether it goes on from what a state has: it reads how long that is."""
    return any(kind == DIM_STATE and source == STATE_LENGTH for kind, source, _ in entry.dims) and "last_rows" in [step.op for step in entry.steps]


def ceil_to(value, step):
    return -(-value // step) * step


class Routing:
    """Rows of every expert and of every set of experts."""

    def __init__(self, tokens, experts, top_k):
        draw, self.sets = random.Random(0), collections.Counter()
        for _ in range(tokens):
            self.sets[tuple(sorted(draw.sample(range(experts), top_k)))] += 1
        self.experts = collections.Counter()
        for chosen, rows in self.sets.items():
            for expert in chosen:
                self.experts[expert] += rows


def block_bound(rows, row_block, groups):
    """The most blocks that there may be, as the runtime counts them."""
    return (rows + min(rows, groups) * (row_block - 1)) // row_block


def cut_rows(rows_of_groups, row_block):
    """Rows of each block of each group, which differ by one at most."""
    return [rows // blocks + (i < rows % blocks) for rows in rows_of_groups for blocks in [-(-rows // row_block)] for i in range(blocks)]


def blocks_of(rows_of_groups, row_block):
    return sum(-(-rows // row_block) for rows in rows_of_groups)


def taken_steps(steps, rows_of, groupings):
    """The steps that a run takes, `choose` having chosen, and loops with theirs."""
    taken, at = [], 0
    while at < len(steps):
        step = steps[at]
        at += 1
        if step.op == "loop":
            body = step.attributes["body"]
            taken.append(Loop(step, taken_steps(steps[at:at + body], rows_of, groupings)))
            at += body
            continue
        if step.op != "choose":
            taken.append(step)
            continue
        first, second, schedule = step.attributes["first"], step.attributes["second"], step.attributes["schedule"]
        grouped = step.operands.get("blocks")
        rows, groups = rows_of(step), groupings[grouped["name"]][1] if grouped else 1
        many = rows >= schedule["block_rows"] * block_bound(rows, schedule["row_block"], groups) and not any(each.op == "grouped_ffn" for each in steps[at:at + first])
        taken += steps[at:at + first] if many else steps[at + first:at + first + second]
        at += first + second
    return taken


def read_manifest(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
