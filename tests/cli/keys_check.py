"""keys_check.py MODEL.mlir CHECKPOINT.safetensors: every parameter of the module is a tensor of the checkpoint, of that shape, and every tensor of
the checkpoint is a parameter, but for what only training uses."""
import json
import re
import struct
import sys

module, checkpoint = sys.argv[1:]
data = open(checkpoint, "rb").read()
header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
found = set()
for count, key, shape in re.findall(r'hmoe\.parameter"\(\) \{(?:at_open, )?count = (\d+) : i64, key = "([^"]*)"\} : \(\) -> tensor<([\dx]+)xf32>', open(module).read()):
    names, shape, count = key.split("\\0A"), [int(size) for size in shape.split("x")], int(count)
    for name in [key.replace("{}", str(i)) for i in range(count)] or [next(n for n in names if n in header)]:
        assert header[name]["shape"] == shape[1 if count else 0 :], (name, header[name]["shape"], shape)
        found.add(name)
left = {n for n in header if n != "__metadata__" and not n.endswith(("mlp.w_noise", "mlp.mean", "mlp.std"))} - found
assert not left, left
print(len(found), "tensors")
