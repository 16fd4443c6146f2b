"""How far a program is, for whoever watches: one small file in its attempt, replaced as it goes.

Programs are followed through the store alone, so that a laptop and a cluster need no other
channel between a program and its controller.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from selfie.artifacts.store import Store
from selfie.errors import Unavailable

PROGRESS_FILE = "progress.json"
_SECONDS_BETWEEN_WRITES = 0.5


class ProgressWriter:
    """Writes ``<attempt_path>/progress.json``, at most twice a second, and the last state on `close`.

    Fields: ``done`` and ``total`` in the program's own units, ``activity`` in words, ``measures``
    by name, ``updatedAt``, and ``etaSeconds``, 0 while unknown. A store that can't be reached at
    the moment does not end the work: the next update tries again. One of several who share the work
    tells for all; the others are ``silent``.
    """

    def __init__(
        self,
        store: Store,
        attempt_path: str,
        *,
        silent: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._silent = silent
        self._path = f"{attempt_path}/{PROGRESS_FILE}"
        self._clock = clock
        self._written_at: float | None = None
        self._first: tuple[float, int] | None = None
        self._unwritten: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, done: int, total: int, activity: str, **measures: float) -> None:
        """Notes the state, and writes it unless the last one was written just now."""
        if self._silent:
            return
        now = self._clock()
        self._first = self._first or (now, done)
        self._unwritten = {
            "done": done,
            "total": total,
            "activity": activity,
            "measures": measures,
            "updatedAt": datetime.now(UTC).isoformat(),
            "etaSeconds": self._seconds_left(now, done, total),
        }
        if self._written_at is None or now - self._written_at >= _SECONDS_BETWEEN_WRITES:
            self._write(now)

    def close(self) -> None:
        """Writes the last state, if it is not there yet."""
        if self._unwritten is not None:
            self._write(self._clock())

    def _seconds_left(self, now: float, done: int, total: int) -> float:
        # From the first state on: a program that goes on from a checkpoint begins in the middle.
        began, before = self._first or (now, done)
        if done <= before or done >= total:
            return 0.0
        return round((total - done) * (now - began) / (done - before), 1)

    def _write(self, now: float) -> None:
        self._written_at = now
        with suppress(Unavailable):
            self._store.write(self._path, json.dumps(self._unwritten, sort_keys=True).encode())
            self._unwritten = None
