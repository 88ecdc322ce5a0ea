"""What the machine can do: multiply-adds in f32 and in bf16, and bytes read from memory, with all threads."""

import ctypes


class Ceilings:
    """The highest of all measurements: one taken in a disturbed moment would be no ceiling."""

    def __init__(self, native, threads, cpu):
        self.library, self.threads, self.cpu = ctypes.CDLL(str(native.ceilings())), ctypes.c_size_t(threads), cpu.encode()
        reads = ("hmoec_ceiling_gigabytes_per_second", "bench_ceiling_gigabytes_per_second")
        for function in ("hmoec_ceiling_gflops", "bench_ceiling_bf16_gflops", *reads):
            getattr(self.library, function).restype = ctypes.c_double
        self.reads = [getattr(self.library, function) for function in reads]
        self.values = {"f32_gflops": 0, "bf16_gflops": 0, "read_gigabytes_per_second": 0, "bf16_instruction": "none"}

    def measure(self):
        instruction = ctypes.c_char_p()
        found = {
            "f32_gflops": self.library.hmoec_ceiling_gflops(self.cpu, self.threads),
            "read_gigabytes_per_second": max(read(self.threads) for read in self.reads),
            "bf16_gflops": self.library.bench_ceiling_bf16_gflops(self.threads, ctypes.byref(instruction)),
        }
        self.values = {name: max(value, found[name]) if name in found else value for name, value in self.values.items()}
        self.values["bf16_instruction"] = instruction.value.decode()
        return self.values
