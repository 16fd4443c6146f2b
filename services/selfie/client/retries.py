"""When to ask again: a call changes nothing, so that it may be made again until its time is over."""

import random
import time
from collections.abc import Callable

from selfie.errors import Overloaded, SelfieError, Unavailable

_FIRST_S, _LONGEST_S = 0.1, 5.0


class Patience:
    """For one call of at most ``timeout_s`` in all and ``retries`` further attempts."""

    def __init__(
        self,
        timeout_s: float,
        retries: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._retries = retries
        self._clock = clock
        self._chance = chance
        self._ends = clock() + timeout_s
        self._pause_s = _FIRST_S

    def left_s(self) -> float:
        """What is left of the time, for the next attempt."""
        return max(self._ends - self._clock(), 0.0)

    def pause_s(self, error: SelfieError) -> float:
        """How long to wait before the next attempt; raises the error where there is to be none.

        A service that refuses for overload says when to come back. Chance keeps callers apart who were
        refused together.
        """
        if not isinstance(error, Overloaded | Unavailable) or self._retries <= 0:
            raise error
        pause = self._pause_s
        if isinstance(error, Overloaded):
            pause = max(pause, error.retry_after_s)
        pause *= 0.75 + 0.5 * self._chance()
        if pause >= self.left_s():
            raise error
        self._retries -= 1
        self._pause_s = min(2 * self._pause_s, _LONGEST_S)
        return pause
