"""On a cluster every run has an engine of its own, at an address that follows from the run's UID.

So no request can name an engine: where its samples come from follows from whose run it is for.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from selfie.errors import FailedPrecondition
from selfie.generation.engines import Engine, EngineIdentity, Sample, SamplingParameters, SeededPrompt
from selfie.runs.names import run_key

PLACE = "{run}"
"""What stands in an address for the run."""


def address_for(pattern: str, run_uid: str) -> str:
    """The address of the run's engine: ``dns:///selfie-engine-{run}:50051`` with its key in place."""
    return pattern.replace(PLACE, run_key(run_uid))


@dataclass(frozen=True)
class Opened:
    """An engine at the end of a channel, and how the channel is closed."""

    engine: Engine
    close: Callable[[], Awaitable[None]]


@dataclass
class _Held:
    opened: Opened
    in_use: int
    used_at: float


class EnginesOfRuns:
    """A channel for each run that is at work, closed once nobody has used it for ``idle_s`` seconds."""

    def __init__(
        self,
        open_engine: Callable[[str], Opened],
        *,
        idle_s: float = 600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_engine = open_engine
        self._idle_s = idle_s
        self._clock = clock
        self._held: dict[str, _Held] = {}

    def of(self, run_uid: str) -> Engine:
        """The run's engine; a channel is opened when it is first asked for something."""
        return _EngineOfRun(self, run_uid)

    @asynccontextmanager
    async def borrowed(self, run_uid: str) -> AsyncIterator[Engine]:
        """The engine over a channel that stays open meanwhile."""
        if run_uid not in self._held:
            self._held[run_uid] = _Held(self._open_engine(run_uid), 0, self._clock())
        held = self._held[run_uid]
        held.in_use += 1
        try:
            await self._close_idle()
            yield held.opened.engine
        finally:
            held.in_use -= 1
            held.used_at = self._clock()

    async def close(self) -> None:
        """Closes all channels."""
        while self._held:
            _, held = self._held.popitem()
            await held.opened.close()

    async def _close_idle(self) -> None:
        long_ago = self._clock() - self._idle_s
        idle = [uid for uid, held in self._held.items() if not held.in_use and held.used_at < long_ago]
        for uid in idle:
            await self._held.pop(uid).opened.close()


class NoFixedEngine:
    """In place of the engine of calls that are for no run, where each run has its own."""

    async def identity(self) -> EngineIdentity:
        raise _no_run()

    async def sample(self, *_: object, **__: object) -> list[list[Sample]]:
        raise _no_run()


@dataclass(frozen=True)
class _EngineOfRun:
    engines: EnginesOfRuns
    run_uid: str

    async def identity(self) -> EngineIdentity:
        async with self.engines.borrowed(self.run_uid) as engine:
            return await engine.identity()

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        async with self.engines.borrowed(self.run_uid) as engine:
            return await engine.sample(prompts, parameters, weights_digest=weights_digest)


def _no_run() -> FailedPrecondition:
    return FailedPrecondition(
        "NoFixedEngine",
        "here each run has an engine of its own, and this call is for no run; "
        "ask a service that was started with one --engine-address",
    )
