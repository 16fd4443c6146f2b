"""What scoring costs at least, and what the processors at hand can do: shares of a peak are of these."""

import time
from collections.abc import Callable, Sequence

import torch
from scorer_workload import Pair

HIDDEN, LAYERS, VOCABULARY, BLOCKS = 576, 30, 49_152, 106_168_320
"""Of SmolLM2-135M; the last are the parameters of its layers."""


def processor_seconds() -> float:
    """Seconds of work, by thread."""
    return time.process_time() / torch.get_num_threads()


Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "processor": processor_seconds}


def gemm_peak(clock: Clock, dtype: torch.dtype = torch.float32) -> float:
    """FLOP/s of the best of several products, measured now."""
    best = 0.0
    for rows, inner, columns in ((2048, 2048, 2048), (1024, 576, 3072), (4096, 1024, 1024)):
        left, right = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
        for _ in range(4):
            started = clock()
            left @ right
            best = max(best, 2 * rows * inner * columns / max(clock() - started, 1e-9))
    return best


def useful_flops(pairs: Sequence[Pair]) -> float:
    """The least that two models need: each prompt once, the head on responses alone, causal attention."""
    total = 0.0
    for prompt, *responses in pairs:
        own = [len(response) for response in responses]
        tokens = len(prompt) + sum(own)
        seen = len(prompt) ** 2 / 2 + sum(count * (len(prompt) + count / 2) for count in own)
        total += 2 * (2 * BLOCKS * tokens + 4 * LAYERS * HIDDEN * seen + 2 * HIDDEN * VOCABULARY * sum(own))
    return total
