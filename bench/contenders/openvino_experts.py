"""OpenVINO's CPU plugin: the feed-forward nets of the experts on tokens that are already grouped."""

import numpy as np
import openvino as ov
import openvino.opset13 as op


def model(weights, experts, rows, d_model):
    inputs, outputs = [], []
    for e in experts:
        x = op.parameter([rows, d_model], np.float32, name=f"x{e}")
        wi, wo = (op.constant(weights[f"experts.expert_{e}.{name}.weight"]) for name in ("wi", "wo"))
        hidden = op.relu(op.matmul(x, wi, False, True))
        inputs.append(x)
        outputs.append(op.matmul(hidden, wo, False, True))
    return ov.Model(outputs, inputs)


class OpenVinoExperts:
    def __init__(self, case):
        self.case, shape, core = case, case.workload.shape, ov.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": case.dtype,
            "INFERENCE_NUM_THREADS": case.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        self.requests = []  # per layer and input: a request whose tensors are set, so that a run is nothing but the run
        for weights in case.workload.layers:
            by_experts, requests = {}, []
            for i in case.inputs:
                experts = tuple(e for e, _ in i.groups)
                if experts not in by_experts:
                    rows = len(i.groups[0][1])
                    by_experts[experts] = core.compile_model(model(weights, experts, rows, shape.d_model), "CPU", settings)
                request = by_experts[experts].create_infer_request()
                for position, (_, values) in enumerate(i.groups):
                    request.set_input_tensor(position, ov.Tensor(np.ascontiguousarray(values), shared_memory=True))
                requests.append(request)
            self.requests.append(requests)

    def run(self, layer, index):
        self.requests[layer][index].infer()

    def result(self, layer, index):
        self.run(layer, index)
        outputs = len(self.case.inputs[index].groups)
        return np.concatenate([self.requests[layer][index].get_output_tensor(o).data for o in range(outputs)])

    def close(self):
        self.requests = None
