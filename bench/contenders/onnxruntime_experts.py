"""ONNX Runtime's CPU provider: the feed-forward nets of the experts on tokens that are already grouped."""

import ml_dtypes
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

TYPES = {"f32": (TensorProto.FLOAT, np.float32), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16)}


def model(weights, experts, rows, shape, dtype):
    """The right operands as MatMul wants them, [in, out], and constant: the provider packs them."""
    kind, numpy_type = TYPES[dtype]
    nodes, constants, inputs, outputs = [], [], [], []
    for e in experts:
        for name in ("wi", "wo"):
            values = np.ascontiguousarray(weights[f"experts.expert_{e}.{name}.weight"].T.astype(numpy_type))
            constants.append(helper.make_tensor(f"{name}{e}", kind, values.shape, values.tobytes(), raw=True))
        nodes += [
            helper.make_node("MatMul", [f"x{e}", f"wi{e}"], [f"product{e}"]),
            helper.make_node("Relu", [f"product{e}"], [f"hidden{e}"]),
            helper.make_node("MatMul", [f"hidden{e}", f"wo{e}"], [f"y{e}"]),
        ]
        inputs.append(helper.make_tensor_value_info(f"x{e}", kind, [rows, shape.d_model]))
        outputs.append(helper.make_tensor_value_info(f"y{e}", kind, [rows, shape.d_model]))
    graph = helper.make_graph(nodes, "experts", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString()


class OnnxRuntimeExperts:
    def __init__(self, case):
        self.case, shape = case, case.workload.shape
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.runs = []  # per layer and input: session, binding
        for weights in case.workload.layers:
            by_experts, runs = {}, []
            for i in case.inputs:
                experts = tuple(e for e, _ in i.groups)
                if experts not in by_experts:
                    text = model(weights, experts, len(i.groups[0][1]), shape, case.dtype)
                    by_experts[experts] = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
                runs.append((by_experts[experts], self.binding(by_experts[experts], i)))
            self.runs.append(runs)

    def binding(self, session, i):
        binding = session.io_binding()
        for e, rows in i.groups:
            binding.bind_ortvalue_input(f"x{e}", onnxruntime.OrtValue.ortvalue_from_numpy(rows))
            binding.bind_ortvalue_output(f"y{e}", onnxruntime.OrtValue.ortvalue_from_numpy(np.empty_like(rows)))
        return binding

    def run(self, layer, index):
        session, binding = self.runs[layer][index]
        session.run_with_iobinding(binding)

    def result(self, layer, index):
        self.run(layer, index)
        return np.concatenate([value.numpy() for value in self.runs[layer][index][1].get_outputs()])

    def close(self):
        self.runs = None
