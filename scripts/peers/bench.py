"""Times calls of torch on buffers that are cold, as `gale bench --kernel` times gale's kernels."""

import time

import torch

from .report import described

# As many calls as the host asks for while the device is at the reads before them, some milliseconds for 20 calls.
RUNS_PER_HEAD_START = 20
READS_PER_HEAD_START = 8
RUNS_MIN, RUNS_MAX = 5, 100


class Bench:
    def __init__(self, device, shapes):
        self.device = torch.device(device)
        self.is_gpu = device == "cuda"
        self.row_seconds = shapes.row_seconds
        self.cold_bytes = shapes.cold_bytes
        self.buffer_bytes = shapes.copy_bytes
        self.random = torch.Generator(self.device).manual_seed(1)
        if self.is_gpu:
            card = torch.cuda.get_device_properties(0)
            self.cold_bytes = max(self.cold_bytes, 2 * getattr(card, "L2_cache_size", 0))
            self.buffer_bytes = min(self.buffer_bytes, card.total_memory // 32)
            self.head_start = torch.zeros(self.buffer_bytes // 4, device=self.device)

    def normal(self, *shape):
        """bf16. Never zeros, on which tensor cores take less power."""
        return torch.randn(shape, generator=self.random, device=self.device, dtype=torch.bfloat16)

    def cold(self, n_bytes, make):
        """As many as it takes that none is in L2 when its turn comes; n_bytes is what a call touches of one."""
        return [make() for _ in range(self.cold_bytes // n_bytes + 2)]

    def time(self, calls, name, shape, n_bytes, flops, **more):
        """A row: how long a call takes. Each of `calls` does the same on buffers of its own, and they take turns."""
        for call in calls:
            call()
        self.synchronize()
        start = time.perf_counter()
        calls[0]()
        self.synchronize()
        fitting = self.row_seconds / (time.perf_counter() - start)
        times = self.times(calls, int(min(max(fitting, RUNS_MIN), RUNS_MAX)))
        return row(times, name, shape, n_bytes, flops, **more)

    def times(self, calls, n_runs):
        """A call that waits for the host would be timed with its wait, so a GPU has something else to do first."""
        marks = []
        for i in range(n_runs):
            if self.is_gpu and i % RUNS_PER_HEAD_START == 0:
                for _ in range(READS_PER_HEAD_START):
                    self.head_start.sum()
            before = self.mark()
            calls[i % len(calls)]()
            marks.append((before, self.mark()))
        self.synchronize()
        return [self.between(*pair) for pair in marks]

    def mark(self):
        if not self.is_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, before, after):
        """Microseconds between two marks."""
        return 1e3 * before.elapsed_time(after) if self.is_gpu else 1e6 * (after - before)

    def synchronize(self):
        if self.is_gpu:
            torch.cuda.synchronize()

    def release(self):
        """Gives memory back that is free, so that gale or the next part has it."""
        if self.is_gpu:
            torch.cuda.empty_cache()


def row(times, name, shape, n_bytes, flops, **more):
    times = sorted(times)
    p10, p50, p90 = (times[round(part * (len(times) - 1))] for part in [0.1, 0.5, 0.9])
    return {
        "name": name, "shape": shape, "dtype": "bfloat16", "n_runs": len(times),
        "p50_us": p50, "p10_us": p10, "p90_us": p90,
        "bytes": n_bytes, "flops": flops, "gb_per_s": n_bytes / p50 / 1e3, "tflops": flops / p50 / 1e6,
        **more,
    }  # fmt: skip


def row_or_error(name, shape, measure, **more):
    """One row that fails does not keep the others from being measured."""
    try:
        return measure()
    except Exception as error:
        return {"name": name, "shape": shape, **more, "error": described(error)}
