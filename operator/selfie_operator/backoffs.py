"""How long to wait before the next try, after so many failures in a row."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from selfie.errors import Overloaded

_SPREAD = 0.25


@dataclass(frozen=True)
class Backoff:
    """Doubles from ``first_s`` to ``longest_s``; each wait is stretched by up to a quarter, by chance."""

    first_s: float
    longest_s: float
    chance: Callable[[], float] = random.random

    def seconds(self, failures: int, error: Exception | None = None) -> float:
        """Wait after this many failures, the first being 1; never less than the server asked for."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 30)
        wait = min(doubled, self.longest_s / (1 + _SPREAD)) * (1 + _SPREAD * self.chance())
        asked = error.retry_after_s if isinstance(error, Overloaded) else 0.0
        return max(wait, asked)
