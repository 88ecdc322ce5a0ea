"""Whole models that take turns in bench/models.py: those that hmoec compiles, through bench/whole_model.c, and the published algorithm.

A task is a forward pass or greedy decoding of a batch: see models.py. Runners are made for a model and a task, and have
  run(layer, index)      one run of input `index`, timed; there is one layer
  result(layer, index)   forward: logits as f32 [rows, target, vocab]; decoding: tokens [rows, 1 + new tokens]"""

import ctypes

import numpy as np
import torch

from contenders.ours import Options


class Batch(ctypes.Structure):
    """bench_batch of whole_model.h."""

    _fields_ = [("rows", ctypes.c_int64), ("length", ctypes.c_int64), ("target", ctypes.c_int64)]
    _fields_ += [(name, ctypes.c_void_p) for name in ("input_ids", "attention_mask", "decoder_input_ids")]


class OurModel:
    """An open model."""

    def __init__(self, built, threads, flags=0):
        self.library = ctypes.CDLL(str(built.library))
        self.library.hmoe_last_error.restype = ctypes.c_char_p
        self.library.hmoe_model_cpu.restype = ctypes.c_char_p
        options = Options(struct_size=ctypes.sizeof(Options), threads=threads, flags=flags)
        self.handle = ctypes.c_void_p()
        self.check(self.library.bench_model_open(str(built.packed).encode(), ctypes.byref(options), ctypes.byref(self.handle)))

    def check(self, status):
        if status:
            raise RuntimeError(self.library.hmoe_last_error().decode())

    @property
    def cpu(self):
        return self.library.hmoe_model_cpu(self.handle).decode()

    def close(self):
        self.library.bench_model_close(self.handle)
        self.handle = ctypes.c_void_p()


class OurRuns:
    def __init__(self, model, task, inputs, vocab, d_model):
        self.model, self.task, self.inputs = model, task, inputs
        self.batches = [
            Batch(task.rows, task.length, task.target, *(a.ctypes.data for a in (i.input_ids, i.attention_mask, i.decoder_input_ids))) for i in inputs
        ]
        if task.new_tokens:
            self.tokens = np.empty((task.rows, 1 + task.new_tokens), np.int64)
        else:
            self.logits = np.empty((task.rows, task.target, vocab), np.float32)
            self.hidden = np.empty((task.rows, task.length, d_model), np.float32)

    def run(self, layer, index):
        library, batch = self.model.library, ctypes.byref(self.batches[index])
        if self.task.new_tokens:
            count, tokens = ctypes.c_int64(self.task.new_tokens), ctypes.c_void_p(self.tokens.ctypes.data)
            status = library.bench_model_generate(self.model.handle, batch, count, tokens)
        else:
            pointers = (ctypes.c_void_p(array.ctypes.data) for array in (self.logits, self.hidden))
            status = library.bench_model_forward(self.model.handle, batch, *pointers)
        self.model.check(status)

    def result(self, layer, index):
        self.run(layer, index)
        return (self.tokens if self.task.new_tokens else self.logits).copy()


class PublishedRuns:
    def __init__(self, model, task, inputs):
        self.model, self.task = model, task
        self.inputs = [[torch.from_numpy(a) for a in (i.input_ids, i.attention_mask, i.decoder_input_ids)] for i in inputs]

    def run(self, layer, index):
        ids, mask, decoder_ids = self.inputs[index]
        if self.task.new_tokens:
            return self.model.generate(ids, mask, self.task.new_tokens)
        return self.model.forward(ids, mask, decoder_ids)[0]

    def result(self, layer, index):
        result = self.run(layer, index)
        return result.numpy() if self.task.new_tokens else result.float().numpy()
