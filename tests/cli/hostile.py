"""hostile.py PROGRAM KIND: gives PROGRAM (hmoec) texts that are made to bring it down, of one kind, and prints how each ended:
NAME: status S, and the first error of it. Each ends by itself with status 0 or 1 and an error at a place, in seconds and in 3 GiB; else
this ends with status 1."""
import os, resource, shutil, struct, subprocess, sys, time

PROGRAM, KIND = sys.argv[1:]
SECONDS, BYTES = 60, 3 << 30
PROGRAM_TEXT = open(PROGRAM, "rb").read()
SANITIZED = any(name in PROGRAM_TEXT for name in (b"__asan_init", b"__tsan_init"))  # reserves terabytes of addresses


# What ends at the limit of time takes it all: two of these are enough for every day. ALL=1 runs the others too.
SLOW = ("macros_ternaries", "macros_ifs", "macros_strings", "macros_pasted", "typedef_chain", "bits_wide", "commas")


def limit():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def run(name, arguments):
    begin = time.time()
    status, text = None, ""
    try:
        done = subprocess.run([PROGRAM] + arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, preexec_fn=limit)
        status, text = done.returncode, done.stderr.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        status, text = "none in time", ""
    error = next((line for line in text.split("\n") if "error: " in line), "")
    print(f"{name}: status {status} {error[:300]}", flush=True)
    if os.environ.get("SHOW_SECONDS"):
        print(f"  {time.time() - begin:.2f} s")
    fine = status == 0 or (status == 1 and error and "internal" not in text)
    return fine


def mlir():
    function = """func.func @m(%x: tensor<?x8xf32> {{hmoe.dims = ["tokens"], hmoe.name = "x"}}) -> (tensor<?x8xf32> {{hmoe.name = "y"}})
    attributes {{hmoe.model = "m", t.a = {}}} {{
  {}
  return %x : tensor<?x8xf32>
}}
"""

    def value(text):
        return function.format(text, "")

    def body(text):
        return function.format("unit", text)

    def aliases(line, count, first, use):
        text = first + "".join(line.format(i + 1, i, i) for i in range(1, count))
        return text + f"module attributes {{a.b = {use.format(count)}}} {{}}\n"

    call = '%{} = "hmoe.activate"(%{}) {{function = "relu"}} : (tensor<?x8xf32>) -> tensor<?x8xf32>\n'
    return {
        "signs": value("affine_map<(d0) -> (" + "-" * 10000 + "d0)>"),
        "sums": value("affine_map<(d0) -> (" + "d0 + " * 30000 + "d0)>"),
        "number": value("1." + "9" * 50000),
        "integer": value("9" * 20000),
        "hexadecimal": value("0x" + "f" * 50000),
        "exponent": value("1.0e999999999"),
        "minus": value("-" * 20000 + "1"),
        "wide": value("-1 : i16777215"),
        "wide_elements": value("dense<1> : tensor<4xi16777215>"),
        "elements": value("dense<1.0> : tensor<999999999x999999999x999999999xf32>"),
        "elements_listed": value("dense<" + "[" * 90 + "1" + "]" * 90 + "> : tensor<1xf32>"),
        "sparse": value("sparse<[[999999999, 999999999]], [1.0]> : tensor<1000000000x1000000000xf32>"),
        "rank": value("tensor<" + "1x" * 300000 + "f32>"),
        "rank_spaced": value("tensor<" + "? x " * 300000 + "f32>"),
        "resource": value("dense_resource<a> : tensor<4xf32>") + '{-# dialect_resources: { builtin: { a: "0x" } } #-}',
        "results": body('return %x#4294967294 : tensor<?x8xf32>'),
        "results_forward": body('"func.return"(%later#4000000000) : (tensor<?x8xf32>) -> ()'),
        "result_count": body('%a:4000000000 = "hmoe.activate"(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>'),
        "aliases": aliases("#a{} = [#a{}, #a{}]\n", 40, "#a1 = [1]\n", "#a{}"),
        "aliases_dashed": aliases("#a-{} = [#a-{}, #a-{}]\n", 40, "#a-1 = [1]\n", "#a-{}"),
        "aliases_broken": aliases("#a{} =\n[\n#a{}\n,\n#a{}\n]\n", 40, "#a1 = [1]\n", "#a{}"),
        "aliases_typed": aliases("!t{} = tuple<!t{}, !t{}>\n", 40, "!t1 = f32\n", "!t{}"),
        "aliases_of_functions": aliases("!t{} =\n (!t{}) \n -> \n !t{}\n", 40, "!t1 = f32\n", "!t{}"),
        "aliases_deep": aliases("#a{} = [#a{}]\n", 20000, "#a1 = [1]\n", "#a{}"),
        "aliases_of_places": "".join(f'#l{i + 1} = loc(callsite(#l{i} at #l{i}))\n' for i in range(1, 40)) + "module {} loc(#l40)\n",
        "aliases_used": "#a = [" + "1, " * 3000 + "1]\n" + "module attributes {" + ", ".join(f"a.b{i} = #a" for i in range(5000)) + "} {}",
        "aliases_later": "module {} loc(#l40)\n#l1 = loc(unknown)\n" + "".join(f"#l{i + 1} = loc(fused[#l{i}, #l{i}])\n" for i in range(1, 40)),
        "nested": value("[" * 200000),
        "nested_closed": value("[" + "(>" * 200000),
        "nested_types": body("".join("%a = arith.constant 1 : " + "tuple<" * 200000)),
        "regions": "module {" * 200000,
        "ifs": body("scf.if %c { " * 100000),
        "dialects": body('%v = "llvm.mlir.undef"() : () -> !llvm.struct<(' + "struct<(" * 40 + "))>"),
        "spirv": value("#spirv.vce<v1.0, [" + "Shader, " * 1000 + "], []>"),
        "pretty": value("#foo.bar<" + "<" * 100000),
        "string": value('"' + "\\" * 200001 + '"'),
        "string_open": value('"' + "a" * 3000000),
        "ops": body("".join(call.format(i, i - 1 if i else "x") for i in range(60000))),
        "errors": body("".join(call.format(i, "missing") for i in range(100000))),
        "operands": body('"hmoe.activate"(' + ", ".join(["%x"] * 300000) + ') {function = "relu"} : () -> ()'),
        "symbols": value("@a" + "::@a" * 200000),
        "arrows": value("() -> " * 100000 + "()"),
        "place": body("").replace("return %x : tensor<?x8xf32>", 'return %x : tensor<?x8xf32> loc("/dev/zero":1:1)').replace("%x :", "%z :"),
        "nul": body("\0" * 100000),
        "bytes": "".join(chr(i) for i in range(256)) * 1000,
        "blocks": body("".join(f"^b{i}(%v{i}: f32):\n" for i in range(100000))),
        "words": "a " * 2000000,
    }


def c():
    def f(expression, before=""):
        return f"{before}\nfloat f(float x) {{ return {expression}; }}\n"

    def doubled(step, count, first, use):
        return f(use.format(count), first + "".join(step.format(i + 1, i, i) for i in range(1, count)))

    def macro(text, count, use="x"):
        """text doubles its argument; count times."""
        return f(f"M{count}({use})", "#define M0(a) a\n" + "".join(f"#define M{i + 1}(a) " + text.replace("@", f"M{i}(a)") + "\n" for i in range(count)))

    files = {
        "number": f("1." + "9" * 200000 + "f"),
        "integer": f("9" * 200000),
        "hexadecimal": f("0x1" + "0" * 200000 + "p-3f"),
        "exponent": f("1e" + "9" * 10000 + "f"),
        "macros": macro("@ + @", 30),
        "macros_wide": macro("@ + @", 15),
        "macros_deep": macro("(@)", 30000),
        "macros_parentheses": f("L(x)", "#define A ( ( ( ( ( ( ( (\n#define B A A A A A A A A\n#define C B B B B B B B B\n#define D C C C C C C C C\n#define L(x) D D x\n"),
        "macros_ternaries": macro("@ ? @ : @", 12),
        "macros_minuses": f("M15 x", "#define M0 - -\n" + "".join(f"#define M{i + 1} M{i} M{i} M{i}\n" for i in range(15))),
        "macros_casts": f("M15 x", "#define M0 (float)\n" + "".join(f"#define M{i + 1} M{i} M{i} M{i}\n" for i in range(15))),
        "macros_ifs": "#define M0 if (x > 0)\n" + "".join(f"#define M{i + 1} M{i} M{i} M{i}\n" for i in range(12)) + "float f(float x) { M12 return x; return 0; }\n",
        "macros_pasted": f("x", "#define P(a) a##a\n#define Q(a) P(a)\n" + "int " + "Q(" * 40 + "a" + ")" * 40 + ";\n"),
        "macros_strings": doubled("#define S{} S{} S{}\n", 30, '#define S1 "a"\n', "x + sizeof(S{})"),
        "typedefs": f("g", "typedef int (*t1)(int);\n" + "".join(f"typedef t{i} (*t{i + 1})(t{i}, t{i});\n" for i in range(1, 40)) + "t40 g;\n"),
        "typedef_chain": f("(t50000)x", "typedef float t0;\n" + "".join(f"typedef t{i} t{i + 1};\n" for i in range(50000))),
        "structs": f("sizeof(struct s40)", "struct s1 { char a[8]; };\n" + "".join(f"struct s{i + 1} {{ struct s{i} a[8], b; }};\n" for i in range(1, 40))),
        "bits": f("(float)((~(unsigned _BitInt(8388608))0 / 3) % 1000003)"),
        "bits_wide": f("(float)(~(unsigned _BitInt(8388608))0)", "_Static_assert((~(unsigned _BitInt(8388608))0) == 1, \"\");\n"),
        "initialiser": f("a[3]", "static const float a[] = {[1000000000] = 1};\n"),
        "initialisers": f("a[3][3]", "static const float a[100000][100000] = {[99999][99999] = 1, [5] = {[7] = 3}};\n"),
        "embed": f("x", "static const char a[] = {\n#embed \"/dev/zero\"\n};\n"),
        "include_device": f("x", '#include "/dev/zero"\n'),
        "include_fifo": f("x", '#include "fifo"\n'),
        "include_fifo_system": f("x", '#include <fifo>\n'),
        "include_directory": f("x", '#include "/tmp"\n'),
        "include_itself": f("x", '#include "include_itself.c"\n'),
        "include_huge": f("x", '#include "huge.h"\n'),
        "has_include": f("x", '#if __has_include("fifo")\n#endif\n#if __has_include("/dev/zero")\n#endif\n#if __has_embed("/dev/zero")\n#endif\n'),
        "include_macro": f("x", '#define I "fifo"\n#include I\n'),
        "stars": f("x", "int " + "*" * 100000 + "p;\n"),
        "brackets_after": f("x", "int a" + "[1]" * 100000 + ";\n"),
        "functions": f("x", "int a" + "()" * 100000 + ";\n"),
        "parentheses": f("(" * 200000 + "x" + ")" * 200000),
        "minuses": f("-" * 100000 + "x"),
        "nots": f("!" * 100000 + "x"),
        "sums": f("x" + " + x" * 100000),
        "commas": f("x" + ", x" * 100000),
        "assignments": "float f(float x) { x " + "= x " * 100000 + "; return x; }\n",
        "ternaries": f("x ? x : " * 100000 + "x"),
        "casts": f("(float)" * 100000 + "x"),
        "sizeofs": f("sizeof " * 100000 + "x"),
        "subscripts": f("x" + "[0]" * 100000),
        "members": f("x" + ".a" * 100000),
        "calls": f("x" + "()" * 100000),
        "ifs": "float f(float x) { " + "if (x > 0) " * 100000 + "x = 1; return x; }\n",
        "elses": "float f(float x) { " + "if (x > 0) x = 1; else " * 50000 + "x = 1; return x; }\n",
        "dos": "float f(float x) { " + "do " * 100000 + "x = 1; return x; }\n",
        "labels": "float f(float x) { " + "".join(f"a{i}: " for i in range(100000)) + "return x; }\n",
        "cases": "float f(float x) { switch ((int)x) { " + "".join(f"case {i}: " for i in range(100000)) + "return x; } return 0; }\n",
        "case_range": "float f(float x) { switch ((int)x) { case -2000000000 ... 2000000000: return x; } return 0; }\n",
        "attributes": f("x", "int a " + "__attribute__((unused)) " * 100000 + ";\n"),
        "attribute_nested": f("x", "int a __attribute__((aligned" + "(" * 100000 + "\n"),
        "pragmas": f("x", '_Pragma("message(\\"a\\")")\n' * 100000),
        "pragma_nested": f("x", '_Pragma(' * 100000),
        "pushes": f("x", "#pragma clang diagnostic push\n" * 100000),
        "line": f("x", '#line 2000000000 "/dev/zero"\nint a = b;\n'),
        "conditionals": f("x", "#if 1\n" * 100000),
        "condition": f("x", "#if " + "(" * 100000 + "1\n#endif\n"),
        "condition_signs": f("x", "#if " + "-" * 100000 + "1\n#endif\n"),
        "splices": f("x" + "\\\n" * 200000),
        "bytes": f("x", "".join(chr(i) for i in range(128, 256)) * 1000),
        "nul": f("x" + "\0" * 100000),
        "identifier": f("x", "int " + "a" * 5000000 + ";\n"),
        "string": f("x", 'const char *a = "' + "a" * 5000000 + '";\n'),
        "strings": f("x", "const char *a = " + '"a" ' * 500000 + ";\n"),
        "warnings": f("x", "".join(f"int a{i}() {{ }}\n" for i in range(30000))),
        "statements": "float f(float x) { " + "({ " * 100000 + "x; return x; }\n",
        "blocks": "float f(float x) { " + "{ " * 100000 + "x; return x; }\n",
        "initialiser_nested": f("x", "int a[] = " + "{" * 100000 + "\n"),
        "designators": f("x", "int a[1] = {" + "[0]" * 100000 + " = 1};\n"),
        "generics": f("_Generic(x, float: " * 100000 + "x"),
        "typeofs": f("x", "__typeof__(" * 100000 + "int a;\n"),
        "atomics": f("x", "_Atomic(" * 100000 + "int a;\n"),
        "offsetof": f("x + __builtin_offsetof(struct s, a" + "[0]" * 100000 + ")", "struct s { int a; };\n"),
        "old": f("x", "int g(" + ", ".join(f"a{i}" for i in range(100000)) + ") {}\n"),
        "loops": "float f(float x) { for (;;) x += 1; return x; }\n",
        "loop_nest": "float f(float x) { for (int i = 0; i < 1000000; i++) for (int j = 0; j < 1000000; j++) x += 1; return x; }\n",
        "recursion": "float g(float x);\nfloat f(float x) { return g(x); }\nfloat g(float x) { return f(x); }\n",
        "inlined": f("f40(x)", "static float f1(float x) { return x * x; }\n" + "".join(f"static float f{i + 1}(float x) {{ return f{i}(x) + f{i}(x); }}\n" for i in range(1, 40))),
        "shift": f("x + (1 << 2000000000) + 1 / (1 - 1)"),
        "fifo": None, "device": None, "directory": None, "huge": None,
    }
    return files


def spec():
    def whole(text, output="x"):
        return f"model m\ndim n = ?, d = 8\ninput x: f32[n, d]\n{text}\noutput y = {output}\n"

    loops = "".join(f"for i{k} in 0..100000 {{ " for k in range(20)) + "z = 1 " + "} " * 20
    return {
        "parentheses": whole("a = " + "(" * 100000 + "1" + ")" * 100000),
        "minuses": whole("a = " + "-" * 100000 + "1"),
        "nots": whole("a = " + "not " * 100000 + "1"),
        "sums": whole("a = 1" + " + 1" * 200000),
        "lists": whole("a = " + "[" * 100000),
        "calls": whole("", "add(" * 50000 + "x" + ", x)" * 50000),
        "braces": whole("if 1 { " * 100000),
        "elses": whole("if 0 { }" + " else if 0 { }" * 50000),
        "loops": whole(loops),
        "loop": whole("for i in 0..9000000000000000000 {\n a = i\n}"),
        "loop_of_ops": whole("for i in 0..100000 {\n z = add(x, x)\n}"),
        "blocks": whole("".join(f"block b{i + 1}(v) {{\n return b{i}(b{i}(v))\n}}\n" for i in range(1, 40)) + "block b1(v) {\n return add(v, v)\n}", "b40(x)"),
        "block_itself": whole("block b(v) {\n return b(v)\n}", "b(x)"),
        "dims": whole("dim a = 9223372036854775807, b = a * a"),
        "dims_many": whole("".join(f"dim a{i} = {i}\n" for i in range(50000))),
        "integer": whole("a = " + "9" * 500000),
        "number": whole("a = 1." + "9" * 500000),
        "exponent": whole("a = 1e" + "9" * 1000),
        "name": whole("a" * 500000 + " = 1"),
        "string": whole('param w: [d] from "' + "w" * 500000 + '"'),
        "key_braces": whole('param w: [d] from "' + "{" * 100000 + '"'),
        "shape": whole('param w: [' + "d, " * 100000 + '] from "w"'),
        "experts": whole('param w[i < 9000000000000000000]: [d] from "{i}"'),
        "arguments": whole("", "add(" + "x, " * 100000 + "x)"),
        "macros": whole('option f = relu\nz = activate(x, function = c("a.c", f, define = [' + '"a", ' * 100000 + '"a"]))'),
        "alternatives": whole('param w: [d] from "w"' + ' or "w"' * 100000),
        "include_itself": whole('include "include_itself.spec"'),
        "include_fifo": whole('include "fifo"'),
        "include_device": whole('include "/dev/zero"'),
        "include_directory": whole('include "/"'),
        "include_huge": whole('include "huge.h"'),
        "include_often": whole('include "part.spec"\n' * 20000),
        "errors": whole("zzz\n" * 100000),
        "nul": whole("\0" * 100000),
        "bytes": "".join(chr(i) for i in range(256)) * 1000,
        "comments": whole("#" * 900000),
        "splices": whole("\\\n" * 100000),
        "huge": whole("# " + "a" * (1 << 20)),
    }


def config():
    """config.json of a checkpoint that is sound but for it."""
    return {
        "nested": "[" * 1000000,
        "nested_objects": '{"a":' * 1000000,
        "number": '{"model_type": "gpt2", "n_head": ' + "9" * 1000000 + "}",
        "exponent": '{"model_type": "gpt2", "n_head": 1e' + "9" * 100000 + "}",
        "real": '{"model_type": "gpt2", "layer_norm_epsilon": 0.' + "1" * 1000000 + "}",
        "string": '{"model_type": "' + "a" * 3000000 + '"}',
        "escapes": '{"model_type": "' + "\\u0000" * 100000 + '"}',
        "keys": "{" + ", ".join(f'"k{i}": {i}' for i in range(100000)) + "}",
        "same_keys": "{" + ", ".join('"k": 1' for _ in range(100000)) + "}",
        "large": '{"model_type": "gpt2", "n_head": 9223372036854775807, "n_positions": 9223372036854775807}',
        "negative": '{"model_type": "gpt2", "n_head": -9223372036854775808}',
        "huge": " " * (5 << 20) + "{}",
        "bytes": "".join(chr(i) for i in range(256)) * 1000,
        "nul": "\0" * 100000,
        "empty": "",
        "fifo": None,
    }


def header():
    """The header of a safetensors file, with no data behind it."""
    tensor = '"t": {{"dtype": "F32", "shape": [{}], "data_offsets": [0, {}]}}'
    return {
        "nested": "[" * 1000000,
        "nested_shape": '{"t": {"dtype": "F32", "shape": ' + "[" * 1000000,
        "nested_metadata": '{"__metadata__": ' + '{"a":' * 1000000,
        "number": "{" + tensor.format("9" * 1000000, 0) + "}",
        "product": "{" + tensor.format("4294967296, 4294967296", 0) + "}",
        "dims": "{" + tensor.format(", ".join("1" for _ in range(100000)), 4) + "}",
        "offset": "{" + tensor.format(1, "18446744073709551615") + "}",
        "exponent": "{" + tensor.format("1e999999999", 0) + "}",
        "name": '{"' + "a" * 5000000 + '": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}',
        "tensors": "{" + ", ".join(f'"t{i}": {{"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}' for i in range(100000)) + "}",
        "bytes": "".join(chr(i) for i in range(256)) * 100,
        "empty": "",
    }


def npy():
    def text(shape, descr="'<f4'"):
        return f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({shape}), }}"

    return {
        "nested": "(" * 60000,
        "nested_shape": text("(" * 50000),
        "number": text("9" * 60000 + ","),
        "product": text("4294967296, 4294967296, 4294967296,"),
        "overflow": text("9223372036854775807, 8,"),
        "negative": text("-1, 8,"),
        "dims": text("1, " * 20000),
        "descr": text("1, 8", "'" + "<" * 60000 + "'"),
        "descr_list": text("1, 8", "[" * 60000),
        "key": "{'" + "a" * 60000 + "': 1}",
        "bytes": "".join(chr(i) for i in range(256)) * 100,
        "empty": "",
    }


def odd_files():
    os.mkfifo("fifo")
    with open("huge.h", "w") as out:
        out.write("int a;\n" * 10000000)
    with open("part.spec", "w") as out:
        out.write("")


def write_config(name, text):
    shutil.rmtree("directory", ignore_errors=True)
    shutil.copytree(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/gpt2-hypermoe-tiny-k1"), "directory")
    os.chmod("directory", 0o755)
    os.remove("directory/config.json")
    if text is None:
        os.mkfifo("directory/config.json")
    else:
        write("directory/config.json", text)
    return ["import", "directory", "-o", "out.spec"]


def write_header(name, text):
    data = text.encode("latin-1")
    with open("w.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(data)) + data)
    return ["pack", "model.spec", "--weights", "w.safetensors", "-o", "w.hmw"]


def write_npy(name, text):
    data = text.encode("latin-1")[:65535]
    with open("x.npy", "wb") as out:
        out.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data)
    return ["run", "model.spec", "--weights", "none.safetensors", "--input", "x=x.npy", "--output", "y=y.npy"]


def write(path, text):
    with open(path, "w", encoding="latin-1") as out:
        out.write(text)


def main():
    fine = True
    others = {"config": (config, write_config), "header": (header, write_header), "npy": (npy, write_npy)}
    if KIND in ("spec", *others):
        odd_files()
    if KIND in others:
        write("model.spec", 'model m\ndim n = ?, d = 8\ninput x: f32[n, d]\nparam t: [d, d] from "t"\noutput y = linear(x, t)\n')
        make, prepare = others[KIND]
        for name, text in make().items():
            fine &= run(name, prepare(name, text))
        return not fine
    make, suffix = {"mlir": (mlir, ".mlir"), "c": (c, ".c"), "spec": (spec, ".spec")}[KIND]
    only = os.environ.get("ONLY")
    slow = () if os.environ.get("ALL") else SLOW
    if KIND == "c":
        odd_files()
        with open("model.spec", "w") as out:
            out.write("model m\noption activation = relu\ndim tokens = ?, d = 8\ninput x: f32[tokens, d]\noutput y = activate(x, function = activation)\n")
    for name, text in make().items():
        if name in slow or (only and name not in only.split(",")):
            continue
        file = f"{name}{suffix}"
        if text is None:
            file = {"fifo": "fifo", "device": "/dev/zero", "directory": ".", "huge": "huge.h"}[name]
        if text is not None:
            with open(file, "w", encoding="latin-1") as out:
                out.write(text)
        model = ["model.spec", "-D", f"activation=c:{file}:f", "--c-include", "."] if KIND == "c" else [file]
        fine &= run(name, ["compile", *model, "-o", "out"])
        if text is not None:
            os.remove(file)
    return not fine


sys.exit(main())
