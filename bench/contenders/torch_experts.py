"""PyTorch: the feed-forward nets of the experts on tokens that are already grouped, eager and by torch.compile(max-autotune, freezing)."""

import types

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

    def own_code(self):
        """Gives this module a code object of its own. Compiled code is kept by code object: the modules would have to be searched in every run."""
        function = Experts.forward
        copy = types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
        self.forward = types.MethodType(copy, self)
        return self

    def forward(self, *groups):
        return tuple(F.linear(F.relu(F.linear(x, wi)), wo) for x, wi, wo in zip(groups, self.wi, self.wo))


class TorchExperts:
    """compiled: torch.compile with the weights as constants, which packs them; shapes are static."""

    def __init__(self, case, compiled):
        torch.set_num_threads(case.threads)
        self.compiled = compiled
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
        torch.compiler.set_stance("default")
        compiled = torch.compile(module.own_code(), mode="max-autotune", fullgraph=True, dynamic=False)
        example = next(g for g, i in zip(self.groups, self.case.inputs) if tuple(e for e, _ in i.groups) == experts)
        with torch.inference_mode():
            for _ in range(2):
                compiled(*example)
        return compiled

    def begin_turn(self):
        if self.compiled:
            torch.compiler.set_stance("fail_on_recompile")

    def run(self, layer, index):
        with torch.inference_mode():
            return self.modules[layer][index](*self.groups[index])

    def result(self, layer, index):
        return np.concatenate([y.float().numpy() for y in self.run(layer, index)])

    def close(self):
        self.modules = None
        if self.compiled:
            torch._dynamo.reset()
