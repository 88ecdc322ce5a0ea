"""hostile.py PROGRAM KIND: gives PROGRAM (hmoec) texts that are made to bring it down, of one kind, and prints how each ended:
NAME: status S, and the first error of it. Each ends by itself with status 0 or 1 and an error at a place, in seconds and in 3 GiB; else
this ends with status 1."""
import os, resource, subprocess, sys, time

PROGRAM, KIND = sys.argv[1:]
SECONDS, BYTES = 20, 3 << 30
SANITIZED = os.environ.get("HMOE_SANITIZED") == "1"  # reserves terabytes of addresses


def limit():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def run(name, arguments):
    begin = time.time()
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


def main():
    fine = True
    kinds = {"mlir": (mlir, ".mlir")}
    make, suffix = kinds[KIND]
    for name, text in make().items():
        file = f"{name}{suffix}"
        with open(file, "w", encoding="latin-1") as out:
            out.write(text)
        fine &= run(name, ["compile", file, "-o", "out"])
        os.remove(file)
    return not fine


sys.exit(main())
