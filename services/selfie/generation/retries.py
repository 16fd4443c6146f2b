"""An engine whose passing failures are waited out.

Engines restart and are overloaded as a matter of course; a shard must not be lost to that. The
waiting is bounded, jittered, and heeds how long an overloaded engine asks for.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from selfie.errors import Overloaded, Unavailable
from selfie.generation.engines import (
    Engine,
    EngineFault,
    EngineIdentity,
    Sample,
    SamplingParameters,
    SeededPrompt,
)
from selfie.tracing.attempts import span

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How long to go on: ``attempts`` calls or ``seconds`` since the first, whichever ends first.

    Waits are random, and their bound doubles from ``first_wait_s`` to ``longest_wait_s``.
    """

    attempts: int = 20
    seconds: float = 300.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0


def is_passing(error: BaseException) -> bool:
    """Whether waiting may mend it; an engine's own failure at a request is not asked for again and again."""
    return isinstance(error, Unavailable | Overloaded) and not isinstance(error, EngineFault)


def persisting(limits: RetryLimits) -> AsyncRetrying:
    """Calls what it is given until that succeeds, fails for good, or the limits are reached."""
    growing = wait_random_exponential(multiplier=limits.first_wait_s, max=limits.longest_wait_s)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        seconds = growing(state)
        return max(seconds, error.retry_after_s) if isinstance(error, Overloaded) else seconds

    return AsyncRetrying(
        retry=retry_if_exception(is_passing),
        wait=wait,
        stop=stop_after_attempt(limits.attempts) | stop_after_delay(limits.seconds),
        reraise=True,
    )


class RetryingEngine:
    """Asks again when the engine is unavailable or overloaded; other errors pass through."""

    def __init__(self, engine: Engine, limits: RetryLimits) -> None:
        self._engine = engine
        self._limits = limits

    async def identity(self) -> EngineIdentity:
        """Who answers right now."""
        return await self._persist(self._engine.identity)

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        """See `Engine.sample`; the same seeds are asked for again."""
        with span("sample"):
            return await self._persist(
                self._engine.sample, prompts, parameters, weights_digest=weights_digest
            )

    async def _persist(
        self, ask: Callable[Asked, Awaitable[Answer]], *args: Asked.args, **kwargs: Asked.kwargs
    ) -> Answer:
        return await persisting(self._limits)(ask, *args, **kwargs)
