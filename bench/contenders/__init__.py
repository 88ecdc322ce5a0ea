"""The contenders: a table of rows. A row's module is imported when it is first used, so that a peer which is not installed, or does
not load, is a failure of its row alone.

A contender is made for a case (dtype, tokens, threads, workload, inputs, native) and has
  run(layer, index)      one run, timed: input `index` through the weights of `layer`
  result(layer, index)   the same, as f32 [tokens, d_model] with the tokens grouped by expert
  begin_turn()           if there: what must be set before a turn, not timed
  close()"""

from dataclasses import dataclass, field
from importlib import import_module


@dataclass(frozen=True)
class Row:
    name: str
    label: str
    computes: str  # "moe", "hypermoe": routing and gates inside; "experts": tokens come grouped, no gates
    module: str
    type: str
    arguments: dict = field(default_factory=dict)
    dtypes: tuple = ("f32", "bf16")
    why_not: str = ""  # of a dtype that is left out

    def make(self, case):
        return getattr(import_module(f"contenders.{self.module}"), self.type)(case, **self.arguments)


ONLY_F32 = {"dtypes": ("f32",), "why_not": "OpenBLAS of Debian 12 multiplies bf16 on some CPUs only, and not with f32 inputs"}

ROWS = [
    Row("ours_moe", "hmoec MoE", "moe", "ours", "Ours", {"model": "moe_layer"}),
    Row("ours_hypermoe", "hmoec HyperMoE", "hypermoe", "ours", "Ours", {"model": "hypermoe_layer"}),
    Row("torch_compile", "torch.compile", "experts", "torch_experts", "TorchExperts", {"compiled": True}),
    Row("openvino", "OpenVINO", "experts", "openvino_experts", "OpenVinoExperts"),
    Row("onnxruntime", "ONNX Runtime", "experts", "onnxruntime_experts", "OnnxRuntimeExperts"),
    Row("iree", "IREE", "experts", "iree_experts", "IreeExperts"),
    Row("torch_eager", "PyTorch eager", "experts", "torch_experts", "TorchExperts", {"compiled": False}),
    Row("transformers", "transformers", "moe", "switch_transformers", "SwitchTransformers"),
    Row("openblas_by_product", "OpenBLAS, by product", "moe", "openblas", "OpenBlas", {"threading": 0}, **ONLY_F32),
    Row("openblas_by_expert", "OpenBLAS, by expert", "moe", "openblas", "OpenBlas", {"threading": 1}, **ONLY_F32),
    Row("published_hypermoe", "HyperMoE as published", "hypermoe", "published_hypermoe", "PublishedHyperMoe"),
]
BY_NAME = {row.name: row for row in ROWS}
QUICK = ("ours_moe", "ours_hypermoe", "torch_compile", "openvino", "published_hypermoe")
# The peers that the targets are about.
BEST_OF = ("torch_compile", "openvino")
