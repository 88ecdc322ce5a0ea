"""The layers that hmoec compiles, through the C interface of the runtime. Routing is inside."""

import ctypes

import numpy as np


class Options(ctypes.Structure):
    """hmoe_options of <hmoe/runtime.h>."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("threads", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("executor", ctypes.c_void_p),
        ("allocator", ctypes.c_void_p),
        ("device", ctypes.c_char_p),
        ("cpu", ctypes.c_char_p),
        ("note", ctypes.c_void_p),
        ("note_context", ctypes.c_void_p),
        ("progress", ctypes.c_void_p),
        ("progress_context", ctypes.c_void_p),
    ]


class Weights(ctypes.Structure):
    """hmoe_weights of <hmoe/runtime.h>."""

    _fields_ = [
        ("kind", ctypes.c_int),
        ("path", ctypes.c_char_p),
        ("fd", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size_bytes", ctypes.c_size_t),
    ]


VERIFY_WEIGHTS = 1


class Model:
    """An open model of one shared library: NAME.o and the runtime."""

    def __init__(self, built, weights, threads, flags=0, executor=None):
        self.library = ctypes.CDLL(str(built.library))
        self.library.hmoe_last_error.restype = ctypes.c_char_p
        self.library.hmoe_model_cpu.restype = ctypes.c_char_p
        self.library.hmoe_model_weight_bytes.restype = ctypes.c_size_t
        options = Options(struct_size=ctypes.sizeof(Options), threads=threads, flags=flags, executor=executor)
        source = Weights(path=str(weights).encode(), fd=-1)
        self.handle = ctypes.c_void_p()
        model_object = ctypes.c_char.in_dll(self.library, f"{built.name}_object")
        status = self.library.hmoe_model_open(ctypes.byref(model_object), ctypes.byref(source), ctypes.byref(options), ctypes.byref(self.handle))
        self.check(status)
        self.run_entry = self.library.hmoe_model_run

    def check(self, status):
        if status:
            raise RuntimeError(self.library.hmoe_last_error().decode())

    @property
    def cpu(self):
        return self.library.hmoe_model_cpu(self.handle).decode()

    @property
    def weight_bytes(self):
        return self.library.hmoe_model_weight_bytes(self.handle)

    def arguments(self, x, y):
        """What a run gets, made once. The arrays must outlive it."""
        dims = (ctypes.c_int64 * 1)(x.shape[0])
        inputs, outputs = (ctypes.c_void_p * 1)(x.ctypes.data), (ctypes.c_void_p * 1)(y.ctypes.data)
        return self.handle, ctypes.c_uint32(1), dims, inputs, outputs

    def run(self, arguments):
        self.check(self.run_entry(*arguments))

    def close(self):
        self.library.hmoe_model_close(self.handle)
        self.handle = ctypes.c_void_p()


class Ours:
    """model: "moe_layer" or "hypermoe_layer". Several layers are several models, which share threads, as in an application."""

    def __init__(self, case, model):
        built = case.native.layer(model, case.dtype, case.workload.shape)
        self.case = case
        executor = case.native.executor(case.threads) if len(case.workload.layers) > 1 and case.threads > 1 else None
        self.models = [Model(built, path, case.threads, executor=executor) for path in case.workload.files]
        self.cpu = self.models[0].cpu
        self.y = np.empty((case.tokens, case.workload.shape.d_model), np.float32)
        self.runs = [[model.arguments(i.x, self.y) for i in case.inputs] for model in self.models]

    def run(self, layer, index):
        self.models[layer].run(self.runs[layer][index])

    def result(self, layer, index):
        self.run(layer, index)
        return self.case.inputs[index].grouped(self.y)

    def close(self):
        for model in self.models:
            model.close()
