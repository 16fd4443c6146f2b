"""How fast a training goes and how much memory it takes, for whoever watches."""

import resource
import time
from collections.abc import Callable, Sequence

import torch

from selfie.training.trainer.steps import StepRecord


class Speed:
    """Of one start: steps that an earlier one made count for nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()

    def measures(self, steps: Sequence[StepRecord]) -> dict[str, float]:
        """``tokens_per_second`` over these steps; ``memory_bytes``, the device's or else our own."""
        seconds = self._clock() - self._began
        rate = sum(step.tokens for step in steps) / seconds if steps and seconds > 0 else 0.0
        return {"tokens_per_second": rate, "memory_bytes": _memory_bytes()}


def _memory_bytes() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
