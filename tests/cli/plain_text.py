"""plain_text.py FOLDER...: what in C sources depends on the locale of the process and is not of common/plain_text.h, a line each; status 1
if there is any.

That is: reading a number with a fraction, printing one, the classes and order of letters, cJSON's parsing and printing, and a format
that cannot be seen, because it is no literal."""

import re
import sys
from pathlib import Path

FORBIDDEN = re.compile(
    r"\b(strto(?:d|f|ld|d_l|f_l|ld_l)|wcsto\w+|atof|v\w*printf|v\w*scanf|strfrom[dfl]|"
    r"is(?:alnum|alpha|blank|cntrl|digit|graph|lower|print|punct|space|upper|xdigit)|to(?:lower|upper)|isw\w+|tow\w+|"
    r"strn?casecmp|strcasestr|strcoll|strxfrm|strfmon|strftime|setlocale|uselocale|localeconv|nl_langinfo|cJSON_(?:Parse|Print)\w*)\s*\("
)
FORMATTED = re.compile(r"(?<![\w.>])((?:sn|s|f|as|d|w|sw|fw)?printf|s?f?w?scanf)\s*\(")
LITERAL = r'"(?:\\.|[^"\\])*"'
FLOATING = re.compile(r"%[-+ #0'*\d]*(?:\.[*\d]*)?[lL]?[aefgAEFG]")


def without_comments(text):
    """Comments become blanks, so that places stay."""
    token = re.compile(rf"{LITERAL}|'(?:\\.|[^'\\])+'|//[^\n]*|/\*.*?\*/", re.S)
    return token.sub(lambda m: m[0] if m[0][0] in "\"'" else re.sub(r"[^\n]", " ", m[0]), text)


def arguments_of(text, at):
    """The arguments of the call whose opening parenthesis ends at `at`."""
    found, begin, depth, literal = [], at, 1, re.compile(LITERAL + r"|'(?:\\.|[^'\\])+'")
    while depth:
        quoted = literal.match(text, at)
        if quoted:
            at = quoted.end()
            continue
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if not depth or (depth == 1 and text[at] == ","):
            found.append(text[begin:at])
            begin = at + 1
        at += 1
    return found


def faults_of(text):
    text = without_comments(text)
    bare = re.sub(LITERAL, lambda m: '"' + re.sub(r"[^\n]", " ", m[0][1:-1]) + '"', text)
    for call in FORBIDDEN.finditer(bare):
        yield call.start(), call[1]
    for call in FORMATTED.finditer(bare):
        place = {"printf": 0, "scanf": 0, "wprintf": 0, "wscanf": 0, "snprintf": 2, "swprintf": 2}.get(call[1], 1)
        given = arguments_of(text, call.end())
        format_text = given[place] if len(given) > place else ""
        pieces = re.findall(LITERAL + r"|\w+", format_text)
        if not any(piece[0] == '"' for piece in pieces):
            yield call.start(), f"{call[1]} with a format that is no literal"
        # PRId64 and its like stand between pieces.
        joined = "".join(piece[1:-1] if piece[0] == '"' else "d" for piece in pieces).replace("%%", "")
        if FLOATING.search(joined):
            yield call.start(), f"{call[1]} of a floating number"


bad = 0
for folder in sys.argv[1:]:
    for path in sorted(Path(folder).rglob("*.[ch]")):
        text = path.read_text()
        if path.parts[-2:] == ("common", "plain_text.h"):
            continue
        for at, what in sorted(faults_of(text)):
            print(f"{path}:{text.count(chr(10), 0, at) + 1}: {what}")
            bad += 1
sys.exit(bad != 0)
