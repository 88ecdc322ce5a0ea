"""IREE (llvm-cpu for this machine's CPU): the feed-forward nets of the experts on tokens that are already grouped.

Weights are parameters of the module, immutable: what packs them is hoisted into the module's initializers and runs when it is loaded.
Of two sets of flags, the one is taken that runs faster here: which one that is depends on the size."""

import statistics
import time

import ml_dtypes
import numpy as np
from iree import compiler, runtime

NUMPY_TYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16}
TYPES = {"f32": "f32", "bf16": "bf16"}
FLAGS = ["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3", "--iree-opt-data-tiling"]
FLAG_SETS = [FLAGS, [*FLAGS, "--iree-llvmcpu-enable-ukernels=all"]]
TRIALS = 7


def product(result, x, weights, rows, columns, depth, kind):
    """result: [rows, columns] f32 = x * weights^T"""
    return f"""
    %{result}_empty = tensor.empty() : tensor<{rows}x{columns}xf32>
    %{result}_zero = linalg.fill ins(%zero : f32) outs(%{result}_empty : tensor<{rows}x{columns}xf32>) -> tensor<{rows}x{columns}xf32>
    %{result} = linalg.matmul indexing_maps = [#x, #w, #y]
      ins(%{x}, %{weights} : tensor<{rows}x{depth}x{kind}>, tensor<{columns}x{depth}x{kind}>)
      outs(%{result}_zero : tensor<{rows}x{columns}xf32>) -> tensor<{rows}x{columns}xf32>"""


def elementwise(result, of, rows, columns, kind, relu):
    """result: max(of, 0) if relu, as kind"""
    body = "%positive = arith.maximumf %in, %zero : f32" if relu else "%positive = arith.addf %in, %zero : f32"
    body += "\n      " + (
        "linalg.yield %positive : f32" if kind == "f32" else "%short = arith.truncf %positive : f32 to bf16\n      linalg.yield %short : bf16"
    )
    return f"""
    %{result}_empty = tensor.empty() : tensor<{rows}x{columns}x{kind}>
    %{result} = linalg.generic {{indexing_maps = [#same, #same], iterator_types = ["parallel", "parallel"]}}
      ins(%{of} : tensor<{rows}x{columns}xf32>) outs(%{result}_empty : tensor<{rows}x{columns}x{kind}>) {{
    ^bb0(%in: f32, %out: {kind}):
      {body}
    }} -> tensor<{rows}x{columns}x{kind}>"""


def program(experts, rows, shape, dtype):
    kind, h, f = TYPES[dtype], shape.d_model, shape.d_ff
    lines = [
        "#x = affine_map<(m, n, k) -> (m, k)>\n#w = affine_map<(m, n, k) -> (n, k)>\n#y = affine_map<(m, n, k) -> (m, n)>",
        "#same = affine_map<(m, n) -> (m, n)>\nmodule @experts {",
    ]
    for e in range(experts):
        lines.append(f'  util.global private @wi{e} = #flow.parameter.named<"model"::"wi{e}"> : tensor<{f}x{h}x{kind}>')
        lines.append(f'  util.global private @wo{e} = #flow.parameter.named<"model"::"wo{e}"> : tensor<{h}x{f}x{kind}>')
    tensor = f"tensor<{rows}x{h}x{kind}>"
    inputs, results = ", ".join(f"%x{e}: {tensor}" for e in range(experts)), ", ".join([tensor] * experts)
    lines.append(f"  func.func @run({inputs}) -> ({results}) {{\n    %zero = arith.constant 0.0 : f32")
    for e in range(experts):
        lines.append(f"    %wi{e} = util.global.load immutable @wi{e} : tensor<{f}x{h}x{kind}>")
        lines.append(f"    %wo{e} = util.global.load immutable @wo{e} : tensor<{h}x{f}x{kind}>")
        lines.append(product(f"a{e}", f"x{e}", f"wi{e}", rows, f, h, kind))
        lines.append(elementwise(f"b{e}", f"a{e}", rows, f, kind, relu=True))
        lines.append(product(f"c{e}", f"b{e}", f"wo{e}", rows, h, f, kind))
        if dtype == "f32":
            lines.append(f"    %y{e} = tensor.cast %c{e} : {tensor} to {tensor}")
        else:
            lines.append(elementwise(f"y{e}", f"c{e}", rows, h, kind, relu=False))
    lines.append(f"    return {', '.join(f'%y{e}' for e in range(experts))} : {results}\n  }}\n}}")
    return "\n".join(lines)


class IreeExperts:
    instance = None

    def __init__(self, case):
        self.case, shape = case, case.workload.shape
        if IreeExperts.instance is None:
            runtime.flags.parse_flags(f"--task_topology_group_count={case.threads}")
            IreeExperts.instance = runtime.VmInstance()
            IreeExperts.device = runtime.get_driver("local-task").create_default_device()
        groups = len(case.inputs[0].groups)
        text = program(groups, len(case.inputs[0].groups[0][1]), shape, case.dtype)
        programs = [compiler.compile_str(text, target_backends=["llvm-cpu"], extra_args=flags) for flags in FLAG_SETS]
        self.kept, self.runs = [], []
        self.code = min(programs, key=self.trial)
        self.kept.clear()
        for weights in case.workload.layers:
            by_experts, runs = {}, []
            for i in case.inputs:
                experts = tuple(e for e, _ in i.groups)
                if experts not in by_experts:
                    by_experts[experts] = self.load(self.code, weights, experts)
                runs.append((*by_experts[experts], self.arguments(i)))
            self.runs.append(runs)

    def trial(self, code):
        """Median seconds of a run with this program."""
        i, seconds = self.case.inputs[0], []
        context, function = self.load(code, self.case.workload.layers[0], tuple(e for e, _ in i.groups))
        arguments = self.arguments(i)
        for _ in range(TRIALS):
            start = time.perf_counter()
            context.invoke(function, arguments, runtime.VmVariantList(len(i.groups)))
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def load(self, code, weights, experts):
        index = runtime.ParameterIndex()
        for position, e in enumerate(experts):
            for name in ("wi", "wo"):
                values = weights[f"experts.expert_{e}.{name}.weight"].astype(NUMPY_TYPES[self.case.dtype])
                index.add_buffer(f"{name}{position}", values.tobytes())
        provider = index.create_provider(scope="model")
        modules = [
            runtime.create_io_parameters_module(self.instance, provider),
            runtime.create_hal_module(self.instance, self.device),
            runtime.VmModule.copy_buffer(self.instance, code),
        ]
        context = runtime.VmContext(self.instance, modules)
        self.kept += [index, provider, modules]
        return context, modules[-1].lookup_function("run")

    def arguments(self, i):
        values, kind = runtime.VmVariantList(len(i.groups)), NUMPY_TYPES[self.case.dtype]
        for _, rows in i.groups:
            array = runtime.asdevicearray(self.device, np.ascontiguousarray(rows.astype(kind)))
            self.kept.append(array)
            values.push_ref(array._buffer_view)
        return values

    def run(self, layer, index):
        context, function, arguments = self.runs[layer][index]
        results = runtime.VmVariantList(len(self.case.inputs[index].groups))
        context.invoke(function, arguments, results)
        return results

    def result(self, layer, index):
        results = self.run(layer, index)
        views = [results.get_as_object(g, runtime.HalBufferView) for g in range(results.size)]
        return np.concatenate([runtime.DeviceArray(self.device, view).to_host().astype(np.float32) for view in views])

    def close(self):
        self.runs = self.kept = None
