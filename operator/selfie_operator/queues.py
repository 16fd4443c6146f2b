"""The keyed work queue: which runs are to be looked at, and when.

A run is in the queue at most once and in the hands of at most one worker; what is told of it
meanwhile makes one more look afterwards. First come, first served.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from selfie.errors import SelfieError
from selfie_operator.backoffs import Backoff
from selfie_operator.keys import Key


@dataclass(frozen=True)
class Backoffs:
    """Waits after failures: what mends itself (an API server, a service) is tried more often."""

    passing: Backoff = field(default_factory=lambda: Backoff(1, 30))
    lasting: Backoff = field(default_factory=lambda: Backoff(1, 300))

    def seconds(self, failures: int, error: Exception) -> float:
        """Wait before the next try."""
        passes = isinstance(error, SelfieError) and error.retryable
        return (self.passing if passes else self.lasting).seconds(failures, error)


class WorkQueue:
    """Keys that wait, keys that are waited with, and keys in work; for one event loop."""

    def __init__(self, backoffs: Backoffs | None = None) -> None:
        self._backoffs = backoffs or Backoffs()
        self._ready: dict[Key, float] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._working: set[Key] = set()
        # Told of while in work; True if by something that failures do not delay.
        self._told: dict[Key, bool] = {}
        self._wake = asyncio.Event()
        self._closed = False
        self._moved_at = 0.0

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._ready)

    @property
    def oldest_s(self) -> float:
        """Seconds that the first of them has waited."""
        return self._now() - next(iter(self._ready.values())) if self._ready else 0.0

    @property
    def stuck_s(self) -> float:
        """Seconds since a worker last took or finished a key while another waits."""
        return min(self.oldest_s, self._now() - self._moved_at)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Has the key looked at soon.

        After a failure that is at the end of its wait, unless ``urgent``: a failing run that writes
        its status, and so is told of by the watch, would be tried again without end.
        """
        if key in self._working:
            self._told[key] = urgent or self._told.get(key, False)
        elif key not in self._ready and (urgent or key not in self._failures):
            self._make_ready(key)

    def add_all(self, keys: Iterable[Key]) -> None:
        """Adds each of them."""
        for key in keys:
            self.add(key, urgent=True)

    async def next(self) -> Key | None:
        """The next key, now in work; None once the queue is closed."""
        while not self._closed:
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._working.add(key)
                self._moved_at = self._now()
                return key
            self._wake.clear()
            await self._wake.wait()
        return None

    def done(self, key: Key, *, again_s: float | None) -> None:
        """The look was a success; the next is in ``again_s`` seconds at the latest."""
        self._failures.pop(key, None)
        told = self._finish(key)
        if told is not None:
            self._make_ready(key)
        elif again_s is not None:
            self._make_ready_in(key, again_s)

    def failed(self, key: Key, error: Exception) -> float:
        """The look failed; returns the seconds until the next."""
        self._failures[key] = self._failures.get(key, 0) + 1
        wait = self._backoffs.seconds(self._failures[key], error)
        if self._finish(key):
            wait = 0.0
            self._make_ready(key)
        else:
            self._make_ready_in(key, wait)
        return wait

    def close(self) -> None:
        """Hands out no more keys."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._wake.set()

    def _finish(self, key: Key) -> bool | None:
        self._working.discard(key)
        self._moved_at = self._now()
        return self._told.pop(key, None)

    def _make_ready_in(self, key: Key, seconds: float) -> None:
        if not self._closed:
            self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._make_ready, key)

    def _make_ready(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._ready.setdefault(key, self._now())
        self._wake.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
