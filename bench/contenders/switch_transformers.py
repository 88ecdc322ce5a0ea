"""transformers' own block, SwitchTransformersSparseMLP, eager. Routing is inside."""

import torch
from transformers import SwitchTransformersConfig
from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersSparseMLP

from contenders.torch_experts import tensor


class SwitchTransformers:
    def __init__(self, case):
        torch.set_num_threads(case.threads)
        self.case, shape = case, case.workload.shape
        config = SwitchTransformersConfig(
            d_model=shape.d_model,
            d_ff=shape.d_ff,
            num_experts=shape.experts,
            expert_capacity=2**30,  # no token is dropped
            dense_act_fn="relu",
        )
        self.blocks = [self.block(config, weights) for weights in case.workload.layers]
        self.inputs = [tensor(i.x, case.dtype)[None] for i in case.inputs]

    def block(self, config, weights):
        with torch.device("meta"):
            block = SwitchTransformersSparseMLP(config)
        used = {key: tensor(weights[key], self.case.dtype) for key in block.state_dict()}
        used["router.classifier.weight"] = tensor(weights["router.classifier.weight"], "f32")  # its router_dtype
        block.load_state_dict(used, assign=True)
        return block.eval().requires_grad_(False)

    def run(self, layer, index):
        with torch.inference_mode():
            return self.blocks[layer](self.inputs[index])

    def result(self, layer, index):
        return self.case.inputs[index].grouped(self.run(layer, index)[0].float().numpy())

    def close(self):
        self.blocks = None
