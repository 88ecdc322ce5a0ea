"""PyTorch: the feed-forward nets of the experts on tokens that are already grouped, eager and by torch.compile(max-autotune, freezing)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch._inductor import config, select_algorithm

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def tensor(array, dtype):
    return torch.from_numpy(array).to(DTYPES[dtype])


class Experts(torch.nn.Module):
    """One tensor in and one out an expert: nothing is split or joined."""

    def __init__(self, weights, experts, dtype):
        super().__init__()
        for name in ("wi", "wo"):
            values = [tensor(weights[f"experts.expert_{e}.{name}.weight"], dtype) for e in experts]
            setattr(self, name, torch.nn.ParameterList([torch.nn.Parameter(value, requires_grad=False) for value in values]))

    def forward(self, *groups):
        return tuple(F.linear(F.relu(F.linear(x, wi)), wo) for x, wi, wo in zip(groups, self.wi, self.wo))


class TorchExperts:
    """compiled: torch.compile with the weights as constants, which packs them; shapes are static."""

    def __init__(self, case, compiled):
        torch.set_num_threads(case.threads)
        torch._dynamo.reset()
        self.case, dtype = case, case.dtype
        self.groups = [[tensor(rows, dtype) for _, rows in i.groups] for i in case.inputs]
        self.modules = []
        for weights in case.workload.layers:
            by_experts = {}
            for i in case.inputs:
                experts = tuple(e for e, _ in i.groups)
                if experts not in by_experts:
                    by_experts[experts] = Experts(weights, experts, dtype).eval()
            if compiled:
                by_experts = {experts: self.compile(module, experts) for experts, module in by_experts.items()}
            self.modules.append([by_experts[tuple(e for e, _ in i.groups)] for i in case.inputs])

    def compile(self, module, experts):
        config.freezing = True
        config.cpp.threads = self.case.threads
        config.max_autotune_report_choices_stats = select_algorithm.PRINT_AUTOTUNE = False
        torch._dynamo.config.recompile_limit = 1024
        compiled = torch.compile(module, mode="max-autotune", fullgraph=True, dynamic=False)
        example = next(g for g, i in zip(self.groups, self.case.inputs) if tuple(e for e, _ in i.groups) == experts)
        with torch.inference_mode():
            for _ in range(2):
                compiled(*example)
        return compiled

    def run(self, layer, index):
        with torch.inference_mode():
            return self.modules[layer][index](*self.groups[index])

    def result(self, layer, index):
        return np.concatenate([y.float().numpy() for y in self.run(layer, index)])

    def close(self):
        self.modules = None
        torch._dynamo.reset()
