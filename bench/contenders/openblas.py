"""The layer written by hand on OpenBLAS, bench/openblas_layer.c. Routing is inside."""

import ctypes

import numpy as np

INNER, OUTER = 0, 1  # openblas_threading


class OpenBlas:
    """threading: INNER, OpenBLAS's own threads inside each product, or OUTER, one thread an expert."""

    def __init__(self, case, threading):
        self.case, self.threading = case, threading
        self.library = ctypes.CDLL(str(case.native.openblas()))
        self.library.openblas_layer_open.restype = ctypes.c_void_p
        files = case.workload.files
        self.layers = [
            ctypes.c_void_p(self.library.openblas_layer_open(str(file).encode(), ctypes.c_size_t(case.tokens), ctypes.c_size_t(case.threads)))
            for file in files
        ]
        if not all(layer.value for layer in self.layers):
            raise RuntimeError(f"openblas_layer_open failed on {files[0]}")
        self.y = np.empty((case.tokens, case.workload.shape.d_model), np.float32)
        self.arguments = [(ctypes.c_size_t(case.tokens), ctypes.c_void_p(i.x.ctypes.data), ctypes.c_void_p(self.y.ctypes.data)) for i in case.inputs]

    def begin_turn(self):
        for layer in self.layers:
            self.library.openblas_layer_set_threading(layer, self.threading)

    def run(self, layer, index):
        self.library.openblas_layer_run(self.layers[layer], *self.arguments[index])

    def result(self, layer, index):
        self.begin_turn()
        self.run(layer, index)
        return self.case.inputs[index].grouped(self.y)

    def close(self):
        for layer in self.layers:
            self.library.openblas_layer_close(layer)
        self.layers = []
