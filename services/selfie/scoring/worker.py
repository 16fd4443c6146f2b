"""One thread for all computing, so that models and processors are never shared out.

Online calls go first. Batch work has its turn when none waits, and once every ``patience_s`` seconds
however many do, so that neither starves the other; it is handed over in pieces, each a turn.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

Args = ParamSpec("Args")
Result = TypeVar("Result")

_Task = Callable[[], None]


class Worker:
    """Runs calls one after another.

    ``shared_for_s``: for so many seconds after an online call, others are to be expected.
    """

    def __init__(
        self,
        *,
        patience_s: float = 1.0,
        shared_for_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s = patience_s
        self._shared_for_s = shared_for_s
        self._clock = clock
        self._changed = threading.Condition()
        self._urgent: deque[_Task] = deque()
        self._patient: deque[tuple[Future[Any], _Task]] = deque()
        self._urged_at = float("-inf")
        self._patient_at = float("-inf")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
        self._thread.start()

    @property
    def is_shared(self) -> bool:
        """Whether online calls are about, for whose sake batch work should come in small pieces."""
        return self._clock() - self._urged_at < self._shared_for_s

    def urge(self, turn: _Task) -> None:
        """Runs an online turn before all batch work; it must not raise."""
        with self._changed:
            if self._closed:
                return
            self._urged_at = self._clock()
            self._urgent.append(turn)
            self._changed.notify()

    def start(self, call: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Future[Result]:
        """Queues a call that is never refused: loading, or one piece of a batch call."""
        future: Future[Result] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call(*args, **kwargs))
            except BaseException as error:
                # It is raised again where the result is read.
                future.set_exception(error)

        with self._changed:
            if self._closed:
                future.cancel()
            else:
                self._patient.append((future, task))
                self._changed.notify()
        return future

    def close(self) -> None:
        """Finishes what runs, drops what waits."""
        with self._changed:
            self._closed = True
            self._urgent.clear()
            waiting, self._patient = self._patient, deque()
            self._changed.notify()
        for future, _ in waiting:
            future.cancel()
        self._thread.join()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            task()

    def _next(self) -> _Task | None:
        with self._changed:
            while not (self._urgent or self._patient or self._closed):
                self._changed.wait()
            if self._closed:
                return None
            impatient = self._clock() - self._patient_at > self._patience_s
            if self._patient and (impatient or not self._urgent):
                self._patient_at = self._clock()
                return self._patient.popleft()[1]
            return self._urgent.popleft()
