"""Writes prompts for generate_errors.test:  generate_errors.py FOLDER"""
import sys

import numpy

folder = sys.argv[1]
good = numpy.arange(8).reshape(2, 4)
large, negative = good.copy(), good.copy()
large[1, 2], negative[1, 2] = 197, -3
for name, array in {"ids": good, "large": large, "negative": negative, "float": good.astype(numpy.float32), "vector": good[0],
                    "long": numpy.ones((1, 70), int), "empty": good[:, :0], "rowless": good[:0], "twos": good * 0 + 2,
                    "wide": numpy.ones((2, 5), int), "right": numpy.array([[1, 1, 1, 1], [1, 1, 0, 0]]),
                    "left": numpy.array([[1, 1, 1, 1], [0, 0, 1, 1]])}.items():
    numpy.save(f"{folder}/{name}.npy", array)
