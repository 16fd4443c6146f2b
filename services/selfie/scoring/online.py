"""The bounded queue in front of the engine: online calls wait here and are computed together.

What cannot be answered in time is refused at once, with the time to come back at; what nobody waits
for any more is dropped before it costs anything.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from selfie.errors import Overloaded, Unavailable
from selfie.scoring import metrics
from selfie.scoring.rows import Row, RowScore, Wanted
from selfie.scoring.turns import Job, Share, next_turn, tokens_of
from selfie.scoring.worker import Worker

Score = Callable[[Sequence[Row], Wanted], Sequence[RowScore]]

_LEAST_RETRY_S, _MOST_RETRY_S = 0.1, 30.0
_NEWEST, _TELLING = 0.3, 0.5


class OnlineQueue:
    """Calls of ``score``, made in the worker's thread, of about ``token_budget`` tokens each.

    ``max_waiting_tokens`` bounds what waits; a single call may be longer where nothing does.
    """

    def __init__(
        self,
        worker: Worker,
        score: Score,
        *,
        token_budget: int,
        max_waiting_tokens: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._score = score
        self._token_budget = token_budget
        self._max_waiting_tokens = max_waiting_tokens
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._computing: tuple[Job, ...] = ()
        self._tokens_per_s = 0.0

    def check(self, *, deadline: float | None = None) -> None:
        """Raises `Overloaded` where even a call of no tokens would be, so that it need not be looked at."""
        with self._lock:
            self._drop_given_up()
            self._refuse_hopeless(0, deadline)

    def add(
        self, rows: Sequence[Row], wanted: Wanted, *, deadline: float | None = None
    ) -> Future[dict[Row, RowScore]]:
        """Queues distinct rows; ``deadline`` is a time of the clock.

        Raises `Overloaded` where too much waits already, or more than can be computed by then.
        """
        job = Job(list(rows), wanted, deadline, self._clock())
        with self._lock:
            self._drop_given_up()
            self._refuse_hopeless(job.tokens, deadline)
            self._jobs.append(job)
            self._tell()
        self._worker.urge(self._turn)
        return job.future

    def _refuse_hopeless(self, tokens: int, deadline: float | None) -> None:
        waiting = self._waiting_tokens()
        if not waiting:
            return
        wait_s = self._seconds(waiting)
        retry_s = min(max(wait_s, _LEAST_RETRY_S), _MOST_RETRY_S)
        if waiting + tokens > self._max_waiting_tokens:
            raise Overloaded(f"{waiting} tokens are waiting for the scorer already", retry_after_s=retry_s)
        # It is answered with those that share its turn: as many as wait now, if calls go on coming so.
        answer_s = wait_s + self._seconds(max(tokens, min(waiting, self._token_budget)))
        if deadline is not None and self._clock() + answer_s > deadline:
            message = f"an answer would take about {answer_s:.1f} s, longer than the call's deadline"
            raise Overloaded(message, retry_after_s=retry_s)

    def _turn(self) -> None:
        """Computes what comes next; runs in the worker's thread."""
        with self._lock:
            self._drop_given_up()
            shares = next_turn(self._jobs, self._token_budget)
            self._computing = tuple(job for job, _ in shares)
            for job in self._computing:
                self._jobs.remove(job)
        for job in self._computing:
            if not job.found:
                metrics.WAITED.observe(self._clock() - job.added)
        if shares:
            self._compute(shares)
        with self._lock:
            unfinished = [job for job in self._computing if job.left]
            self._computing = ()
            # They go to the back: nobody waits for the whole of a long call.
            self._jobs.extend(unfinished)
            self._tell()
        if unfinished:
            self._worker.urge(self._turn)

    def _compute(self, shares: Sequence[Share]) -> None:
        rows = [row for _, taken in shares for row in taken]
        started = self._clock()
        try:
            scores = self._score(rows, shares[0][0].wanted)
        except Exception as error:
            if len(shares) > 1:
                # It may be the fault of one, which the others are not to suffer for.
                for share in shares:
                    self._compute([share])
                return
            _fail(shares[0][0], error)
            return
        self._learn(tokens_of(rows), self._clock() - started)
        found = dict(zip(rows, scores, strict=True))
        for job, taken in shares:
            _deliver(job, {row: found[row] for row in taken})

    def _learn(self, tokens: int, seconds: float) -> None:
        fill = tokens / self._token_budget
        metrics.BATCH_FILL.observe(fill)
        metrics.TOKENS.labels("online").inc(tokens)
        if fill < _TELLING:
            # A small turn is mostly overhead, and would make a long queue look endless.
            return
        speed = tokens / max(seconds, 1e-6)
        self._tokens_per_s = _NEWEST * speed + (1 - _NEWEST) * (self._tokens_per_s or speed)

    def _drop_given_up(self) -> None:
        now = self._clock()
        for job in [job for job in self._jobs if job.is_given_up(now)]:
            self._jobs.remove(job)
            _fail(job, Unavailable("the call's time was over before its turn came"))

    def _seconds(self, tokens: int) -> float:
        """How long so many tokens take; 0 while that is not known."""
        return tokens / self._tokens_per_s if self._tokens_per_s else 0.0

    def _waiting_tokens(self) -> int:
        return sum(job.tokens for job in (*self._computing, *self._jobs))

    def _tell(self) -> None:
        metrics.WAITING_CALLS.set(len(self._computing) + len(self._jobs))
        metrics.WAITING_TOKENS.set(self._waiting_tokens())


def _deliver(job: Job, found: dict[Row, RowScore]) -> None:
    job.take_in(found)
    if not job.left and job.future.set_running_or_notify_cancel():
        job.future.set_result(job.found)


def _fail(job: Job, error: Exception) -> None:
    job.left = []
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
