"""target_facts.py ROOT: what sources know of a target without asking it, a line each; status 1 if there is any.

Outside of a target's own folder, and the runtime's of its device, that is: the CPU's names for its layouts, its instructions and the processors that LLVM has, a header of it,
and its sizes where they stand as numbers. A line that is fine all the same has its reason here, in ALLOWED.

Passes plan in logical shapes: of layouts the pass place alone asks, in compiler/passes/place.c, and no other pass calls these entries of the table, or
names a field of kernels or of the plan that holds an answer."""

import re
import sys
from pathlib import Path

# The machine's own peaks, which hmoec bench measures by what its processor has, and the numbers that the CPU's times follow from; and the list of all layouts that the host packs.
ALLOWED = {("compiler/commands/ceilings.c", None), ("compiler/commands/machine.c", None), ("include/hmoe/abi.h", "PANELS"), ("include/hmoe/abi.h", "HMOE_LAYOUT_PANELS")}

SEARCHED = ["compiler", "dialects", "runtime", "include/hmoe"]
OWN = [Path("runtime/cpu"), Path("include/hmoe/abi_cpu.h"), Path("include/hmoe/abi_cuda.h")]  # besides the folders of compiler/target
NAMED = [Path("runtime"), Path("include/hmoe/runtime.h")]  # choose among versions and devices that they name, but know no layout
TARGETS = Path("compiler/target")  # a folder of it is a target's
SIZED = ("commands", "emit", "kernel", "library", "passes", "target")  # rooms where these numbers would be the CPU's
SIZES = "1[56]|3[12]|12[78]"
LAYOUT_RULES = [
    (re.compile(r"\w*panel\w*", re.I), "a layout of the CPU"),
    (re.compile(r"\blda(?:_\w+)?\b|\bpairs\(", re.I), "a layout of the CPU"),
]
RULES = LAYOUT_RULES + [
    (re.compile(r"\b(?:\w+_)?(?:avx|amx)(?:\d\w*|_\w+)?\b", re.I), "an instruction set"),
    (re.compile(r"\bHMOE_CPU_\w+|\bhmoe_cpu_\w+|\bhmoec_cpu_\w+"), "a version, or a function, of the CPU"),
    (re.compile(r"\bLLVM(?:Initialize|GetHostCPU|Create\w*TargetMachine|Get\w*TargetFrom)\w*"), "what LLVM knows of a target"),
    (re.compile(r"#include \"target/\w+/.*"), "a header of one target"),
]
SIZE_RULES = [
    (re.compile(rf"[-+*/%&~]\s*\(?\b(?:{SIZES})\b(?![.\w]| \*/)|(?<![.\w])(?:{SIZES})\s*[*/%](?!/)"), "a size of the CPU's"),
    (re.compile(rf"\b(?:multiple of|rounded up to|every|blocks of) (?:{SIZES})\b|\b(?:{SIZES}) (?:columns|keys|rows)\b"), "a size of the CPU's"),
]
PLACE = "compiler/passes/place.c"
PLAN_RULES = [
    (re.compile(r"->(?:layout|right_column|pack|repack|insert)\(|\bhmoec_layout_of\("), "a layout, which place alone asks for"),
    (re.compile(r"\.(?:a_stride|c_stride|b_group_bytes|bias_group_floats|pass_ld|a_in_place|c_padded|ld[a-z0-9_]*|bias_zero)\b"), "a field that place fills in"),
    (re.compile(r'"(?:layout|offsets|advances|args)"'), "an attribute that place sets"),
]


def processors(root):
    """Those that code can be tuned for, but for names that are words."""
    found = set()
    for path in sorted((root / TARGETS).glob("*/*.c")):
        for names in re.findall(r"_processors\[\] = \{(.*?)\};", path.read_text(), re.S):
            found |= set(re.findall(r'"([^"]+)"', names))
    return found - {"native", "generic", "all"}


def faults_of(path, text, rules):
    for number, line in enumerate(text.split("\n"), 1):
        for rule, what in rules:
            for match in rule.finditer(line):
                if not {(path, None), (path, match[0])} & ALLOWED:
                    yield f"{path}:{number}: {match[0]}: {what}"


root = Path(sys.argv[1])
names = processors(root)
if not names:
    sys.exit("no list of processors was found")
rules = RULES + [(re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, names), key=len, reverse=True)) + r")\b"), "a processor")]
bad = 0
for searched in SEARCHED:
    files = [root / searched] if (root / searched).is_file() else sorted((root / searched).rglob("*"))
    for file in files:
        path = file.relative_to(root)
        if file.suffix not in (".c", ".h", ".mlir") or (path.is_relative_to(TARGETS) and path.parent != TARGETS):
            continue
        if any(path.is_relative_to(own) for own in OWN):
            continue
        sized = file.suffix == ".mlir" or any(part in SIZED for part in path.parts)
        known = LAYOUT_RULES if any(path.is_relative_to(named) for named in NAMED) else rules + SIZE_RULES * sized
        if path.is_relative_to("compiler/passes") and str(path) != PLACE:
            known = known + PLAN_RULES
        for fault in faults_of(str(path), file.read_text(), known):
            print(fault)
            bad += 1
sys.exit(bad != 0)
