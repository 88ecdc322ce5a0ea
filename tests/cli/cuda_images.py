"""cuda_images.py MANIFEST: images for GPUs that a manifest lists, a line each, with what the kernels of machine code take."""
import json, sys

for image in json.load(open(sys.argv[1], encoding="utf-8"))["images"]:
    if image["target"] == "cuda":
        print(image["version"], *(f"{k['name']} {k['registers']} {k['shared_bytes']}" for k in image.get("kernels", [])))
