"""Checkpoints that are too large to hold in memory beside the models: written a tensor at a time, from a few matrices in turn."""

import numpy as np

from workload import uniform, write_tensors

MATRICES = 8  # different ones of each kind


class BigWeights:
    """The experts of `layers` MoE layers and their routers. Keys get a prefix "block.N." if `scoped`."""

    def __init__(self, shape, layers=1, scoped=False, router=None, seed=1):
        generator = np.random.default_rng(seed)
        s, self.shape = shape, shape
        self.wi = [uniform(generator, (s.d_ff, s.d_model), s.d_model**-0.5) for _ in range(MATRICES)]
        self.wo = [uniform(generator, (s.d_model, s.d_ff), s.d_ff**-0.5) for _ in range(MATRICES)]
        self.routers = [router if router is not None else uniform(generator, (s.experts, s.d_model), s.d_model**-0.5) for _ in range(layers)]
        self.scoped = scoped

    def matrix(self, layer, expert):
        """(wi, wo): neighbouring layers give an expert different ones."""
        which = (3 * layer + expert) % MATRICES
        return self.wi[which], self.wo[which]

    def tensors(self):
        for layer, router in enumerate(self.routers):
            prefix = f"block.{layer}." if self.scoped else ""
            yield f"{prefix}router.classifier.weight", router
            for e in range(self.shape.experts):
                wi, wo = self.matrix(layer, e)
                yield f"{prefix}experts.expert_{e}.wi.weight", wi
                yield f"{prefix}experts.expert_{e}.wo.weight", wo

    def write(self, path):
        """As .safetensors."""
        return write_tensors(path, list(self.tensors()))

    def experts_read(self, x):
        """How many experts a run through the stack uses, layer by layer: x + moe(x), top-1."""
        used = []
        for layer, router in enumerate(self.routers):
            logits = x @ router.T
            chosen, y = logits.argmax(axis=1), x.copy()
            gates = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
            for e in set(chosen.tolist()):
                rows = chosen == e
                wi, wo = self.matrix(layer, e)
                y[rows] += gates[rows, None] * (np.maximum(x[rows] @ wi.T, 0) @ wo.T)
            used.append(len(set(chosen.tolist())))
            x = y
        return sum(used)
