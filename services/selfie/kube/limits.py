"""A token bucket in front of the API server, so that one process cannot be a burden to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class RateLimit:
    """``per_second`` requests on average, ``burst`` at once; who comes first goes first."""

    def __init__(
        self,
        per_second: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._tokens = float(burst)
        self._filled_at = clock()

    async def take(self) -> None:
        """Waits for a token; the tokens of those who wait already are spent."""
        now = self._clock()
        grown = (now - self._filled_at) * self._per_second
        self._tokens = min(self._tokens + grown, float(self._burst)) - 1
        self._filled_at = now
        if self._tokens < 0:
            await self._sleep(-self._tokens / self._per_second)
