"""How much an engine is asked for at once, and how that is stopped."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from selfie.generation.engines import Engine, Sample, SamplingParameters, SeededPrompt


@dataclass(frozen=True, slots=True)
class Flow:
    """Most responses in one call, and responses asked for at once.

    Calls of about one batch, and a few batches at once: then the engine always has the next one
    waiting, and its queue does not overflow.
    """

    rows_per_call: int = 64
    rows_at_once: int = 256

    def calls_at_once(self, shard_rows: int) -> int:
        """Calls under way over all shards of ``shard_rows`` responses."""
        return max(1, self.rows_at_once // min(self.rows_per_call, shard_rows))

    def shards_at_once(self, shard_rows: int) -> int:
        """Shards of ``shard_rows`` responses under way."""
        return max(1, self.rows_at_once // shard_rows)


class Calls:
    """Cuts prompts into calls to one engine, of which ``at_once`` are under way, whoever asks.

    ``arrived`` sees the samples of each call as they come; what it raises ends the work.
    """

    def __init__(
        self,
        engine: Engine,
        parameters: SamplingParameters,
        weights_digest: str,
        *,
        rows_per_call: int,
        at_once: int,
        arrived: Callable[[Sequence[Sample]], None],
    ) -> None:
        self._engine = engine
        self._parameters = parameters
        self._weights_digest = weights_digest
        self._rows_per_call = rows_per_call
        self._at_once = at_once
        self._arrived = arrived
        self._free = asyncio.Semaphore(at_once)

    async def sample(self, prompts: Sequence[SeededPrompt]) -> list[list[Sample]]:
        """All samples, in the order of the prompts."""
        found: dict[int, list[Sample]] = {}
        work = (self._call(prompts, part, found) for part in _parts(prompts, self._rows_per_call))
        await run_bounded(work, at_once=self._at_once)
        return [found[place] for place in range(len(prompts))]

    async def _call(
        self, prompts: Sequence[SeededPrompt], places: Sequence[int], found: dict[int, list[Sample]]
    ) -> None:
        asked = [prompts[place] for place in places]
        async with self._free:
            answer = await self._engine.sample(asked, self._parameters, weights_digest=self._weights_digest)
        self._arrived([sample for samples in answer for sample in samples])
        found.update(zip(places, answer, strict=True))


def _parts(prompts: Sequence[SeededPrompt], rows: int) -> list[list[int]]:
    """Places of the prompts of each call; those of like length share one, so little is padded."""
    parts: list[list[int]] = []
    room = 0
    for place in sorted(range(len(prompts)), key=lambda place: len(prompts[place].prompt_ids)):
        needed = len(prompts[place].seeds)
        if not parts or needed > room:
            parts.append([])
            room = max(rows, needed)
        parts[-1].append(place)
        room -= needed
    return parts


def _nothing() -> None:
    return None


async def run_bounded(
    work: Iterable[Coroutine[Any, Any, None]],
    *,
    at_once: int,
    sign: Callable[[], None] = _nothing,
    every_s: float = 1.0,
) -> None:
    """Runs coroutines, ``at_once`` at a time, and starts the next when one has ended.

    ``sign`` is called when one has ended and at least every ``every_s`` seconds; what it raises,
    or any of them, cancels all the others.
    """
    waiting = iter(work)
    running: set[asyncio.Task[None]] = set()
    ended: set[asyncio.Task[None]] = set()
    try:
        while True:
            while len(running) < at_once and (following := next(waiting, None)) is not None:
                running.add(asyncio.create_task(following))
            if not running:
                return
            ended, running = await asyncio.wait(running, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            sign()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *ended, return_exceptions=True)
