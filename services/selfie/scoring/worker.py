"""One thread for all computing, so that models and processors are never shared out.

Online calls wait in a bounded queue and are refused when it is full. Batch work waits too, but is
never refused: there is one batch at a time of each operation, so that online calls come between.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from selfie.errors import Overloaded

Args = ParamSpec("Args")
Result = TypeVar("Result")

RETRY_AFTER_S = 1.0


class Worker:
    """Runs calls one after another; ``capacity`` is how many online calls may wait or run."""

    def __init__(self, *, capacity: int) -> None:
        self._room = threading.BoundedSemaphore(capacity)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")

    def submit(self, call: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Future[Result]:
        """Queues an online call; Overloaded when too many wait already."""
        if not self._room.acquire(blocking=False):
            raise Overloaded("too many calls are waiting for the scorer", retry_after_s=RETRY_AFTER_S)
        future = self._thread.submit(call, *args, **kwargs)
        future.add_done_callback(lambda _: self._room.release())
        return future

    def start(self, call: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Future[Result]:
        """Queues a call that is never refused: loading, or one batch of a batch call."""
        return self._thread.submit(call, *args, **kwargs)

    def close(self) -> None:
        """Finishes what runs, drops what waits."""
        self._thread.shutdown(cancel_futures=True)
