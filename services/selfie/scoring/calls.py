"""An online call from its question to its scores: bounded, tokenised aside, remembered or queued."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from selfie.errors import InvalidInput, Overloaded
from selfie.scoring.memory import ScoreMemory
from selfie.scoring.online import OnlineQueue
from selfie.scoring.questions import Asked
from selfie.scoring.rows import Row, RowScore, Wanted

RETRY_AFTER_S = 1.0


@dataclass(frozen=True, kw_only=True)
class OnlineLimits:
    """What online calls may take: calls at once, tokens of a call, tokens that wait, tokens remembered."""

    max_waiting_calls: int = 64
    max_call_tokens: int = 32_768
    max_waiting_tokens: int = 131_072
    remembered_tokens: int = 1_000_000


DEFAULT_LIMITS = OnlineLimits()


class OnlineCalls:
    """Lives in the event loop, which nothing here holds up."""

    def __init__(self, queue: OnlineQueue, limits: OnlineLimits) -> None:
        self._queue = queue
        self._limits = limits
        self._memory = ScoreMemory(limits.remembered_tokens)
        self._calls = 0

    async def scores(
        self, ask: Callable[[], Asked], wanted: Wanted, *, seconds_left: float | None = None
    ) -> tuple[Asked, list[RowScore]]:
        """What was asked, and its scores in the order of its rows.

        ``ask`` tokenises, in a thread. Raises `Overloaded`, before that if it can, where too many calls or
        tokens wait, and `InvalidInput` for a call that asks for too much.
        """
        deadline = None if seconds_left is None else time.monotonic() + seconds_left
        with self._place():
            self._queue.check(deadline=deadline)
            asked = await asyncio.to_thread(ask)
            self._check_size(asked)
            found = await self._found(dict.fromkeys(asked.rows), wanted, deadline)
        return asked, [found[row] for row in asked.rows]

    async def _found(
        self, rows: dict[Row, None], wanted: Wanted, deadline: float | None
    ) -> dict[Row, RowScore]:
        found = self._memory.recall(rows, wanted)
        missing = [row for row in rows if row not in found]
        if missing:
            computed = await asyncio.wrap_future(self._queue.add(missing, wanted, deadline=deadline))
            self._memory.keep(computed, wanted)
            found |= computed
        return found

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._calls >= self._limits.max_waiting_calls:
            raise Overloaded("too many calls are waiting for the scorer", retry_after_s=RETRY_AFTER_S)
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def _check_size(self, asked: Asked) -> None:
        limit = self._limits.max_call_tokens
        if asked.tokens > limit:
            problem = f"have {asked.tokens} tokens with the prompt"
            raise InvalidInput("responses", problem, f"send at most {limit} in one call, and split them up")
