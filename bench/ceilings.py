"""What the machine can do: multiply-adds in f32 and in bf16, and bytes read from memory, with all threads."""

import ctypes
import time
from pathlib import Path

READ_BYTES, READS = 1 << 30, 7


class Reader:
    """Reads memory and does nothing else: what a run that reads as many bytes is measured against, in turns with it."""

    def __init__(self, native, threads, bytes_read):
        self.library, self.bytes = ctypes.CDLL(str(native.ceilings())), ctypes.c_size_t(bytes_read)
        self.library.bench_reader_create.restype = ctypes.c_void_p
        self.handle = ctypes.c_void_p(self.library.bench_reader_create(ctypes.c_size_t(threads)))
        if not self.handle.value:
            raise MemoryError("too little memory to measure reads")

    def run(self, layer, index):
        self.library.bench_reader_run(self.handle, self.bytes)

    def close(self):
        self.library.bench_reader_destroy(self.handle)


class Ceilings:
    """The highest of all measurements: one taken in a disturbed moment would be no ceiling."""

    def __init__(self, native, threads):
        self.native, self.threads = native, threads
        self.library = ctypes.CDLL(str(native.ceilings()))
        for function in ("hmoec_ceiling_gflops", "hmoec_ceiling_gigabytes_per_second", "hmoec_ceiling_bf16_gflops"):
            getattr(self.library, function).restype = ctypes.c_double
        # The code versions whose instructions this CPU has.
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
        amx = "amx_bf16" in flags and self.library.bench_ask_for_tiles()
        self.cpu = "avx512" if "avx512f" in flags else "avx2" if "avx2" in flags else "portable"
        instruction = "amx" if amx else "avx512_bf16" if "avx512_bf16" in flags else "none"
        self.values = {"f32_gflops": 0, "bf16_gflops": 0, "read_gigabytes_per_second": 0, "bf16_instruction": instruction}

    def reads(self):
        """The better of the loop that `hmoec bench` has and of the reader."""
        reader, best = Reader(self.native, self.threads, READ_BYTES), 0
        for _ in range(READS):
            start = time.perf_counter()
            reader.run(0, 0)
            best = max(best, 1e-9 * READ_BYTES / (time.perf_counter() - start))
        reader.close()
        return max(best, self.library.hmoec_ceiling_gigabytes_per_second(ctypes.c_size_t(self.threads)))

    def measure(self):
        threads = ctypes.c_size_t(self.threads)
        found = {
            "f32_gflops": self.library.hmoec_ceiling_gflops(self.cpu.encode(), threads),
            "read_gigabytes_per_second": self.reads(),
            "bf16_gflops": self.library.hmoec_ceiling_bf16_gflops(self.values["bf16_instruction"].encode(), threads),
        }
        self.values = {name: max(value, found[name]) if name in found else value for name, value in self.values.items()}
        return self.values
