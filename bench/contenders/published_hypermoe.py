"""The HyperMoE layer as its paper has it, in plain PyTorch: for every token the hypernetwork generates the two matrices of a
HyperExpert from the embeddings of the experts that the token did not select (equations 5 to 9; the mean of the embeddings, no
generated biases: the defaults of models/hypermoe-layer.spec, whose keys these are). Routing is inside."""

import torch
import torch.nn.functional as F

from contenders.torch_experts import DTYPES, tensor


class PublishedLayer:
    def __init__(self, weights, shape, dtype):
        self.shape, self.dtype = shape, DTYPES[dtype]
        self.w = {key: tensor(values, dtype) for key, values in weights.items()}
        self.router = tensor(weights["router.classifier.weight"], "f32")

    def linear(self, x, key):
        return F.linear(x, self.w[f"{key}.weight"], self.w[f"{key}.bias"])

    def experts(self, x, gate, chosen):
        y = torch.zeros_like(x)
        for e in range(self.shape.experts):
            tokens = torch.where(chosen == e)[0]
            if len(tokens):
                hidden = F.relu(F.linear(x[tokens], self.w[f"experts.expert_{e}.wi.weight"]))
                y[tokens] = F.linear(hidden, self.w[f"experts.expert_{e}.wo.weight"]) * gate[tokens, None]
        return y

    def hyper_expert(self, x, chosen):
        s, tokens = self.shape, len(x)
        unselected = 1 - F.one_hot(chosen, s.experts).to(self.dtype)
        selection = unselected @ self.w["n_experts_embedding.weight"] / (s.experts - 1)
        selection = self.linear(F.relu(self.linear(selection, "embedding_process.0")), "embedding_process.2")
        layer = self.w["param_gen.layer_embed.weight"][s.layer].expand(tokens, -1)
        r = F.relu(self.linear(torch.cat([selection, layer], dim=1), "param_gen.decoder.linear1"))
        down = self.linear(r, "param_gen.decoder.weight_down").view(tokens, s.d_model, s.bottleneck)
        up = self.linear(r, "param_gen.decoder.weight_up").view(tokens, s.bottleneck, s.d_model)
        return torch.bmm(F.relu(torch.bmm(x[:, None], down)), up)[:, 0]

    def __call__(self, x):
        probabilities = F.softmax(F.linear(x.float(), self.router), dim=-1)
        gate, chosen = probabilities.max(dim=-1)
        return self.experts(x, gate.to(self.dtype), chosen) + self.hyper_expert(x, chosen)


class PublishedHyperMoe:
    def __init__(self, case):
        torch.set_num_threads(case.threads)
        self.case = case
        self.layers = [PublishedLayer(weights, case.workload.shape, case.dtype) for weights in case.workload.layers]
        self.inputs = [tensor(i.x, case.dtype) for i in case.inputs]

    def run(self, layer, index):
        with torch.inference_mode():
            return self.layers[layer](self.inputs[index])

    def result(self, layer, index):
        return self.case.inputs[index].grouped(self.run(layer, index).float().numpy())

    def close(self):
        self.layers = None


def reference(i, layer):
    """What a HyperMoE layer makes of an input, grouped: in f32, 256 tokens at a time to bound the memory of the generated matrices."""
    published = PublishedLayer(i.workload.layers[layer], i.workload.shape, "f32")
    with torch.inference_mode():
        y = torch.cat([published(x) for x in torch.from_numpy(i.x).split(256)])
    return i.grouped(y.numpy())
