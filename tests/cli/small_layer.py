"""Prints -D options of a small layer: odd sizes everywhere. `small_layer.py hypermoe` adds what the hypernetwork needs."""
import sys

dims = {"d_model": 37, "d_ff": 53, "experts": 7}
if "hypermoe" in sys.argv[1:]:
    dims |= {"bottleneck": 5, "hyper_hidden": 11, "expert_embedding": 13, "selection_hidden": 17, "selection_embedding": 19,
             "layer_embedding": 3, "layers": 4}
print(" ".join(f"-D {name}={value}" for name, value in dims.items()))
