"""An engine in trouble is waited for, within bounds; a wrong request is not repeated."""

import time
from collections.abc import Sequence

import pytest

from selfie.errors import FailedPrecondition, Overloaded, SelfieError, Unavailable
from selfie.generation.engines import EngineIdentity, Sample, SamplingParameters, SeededPrompt
from selfie.generation.retries import RetryingEngine, RetryLimits

QUICK = RetryLimits(attempts=4, seconds=10, first_wait_s=0.001, longest_wait_s=0.01)
IDENTITY = EngineIdentity("a" * 64, "", 0, "float32", "toy")


class FailingEngine:
    """Raises each of the errors once, and then answers."""

    def __init__(self, *errors: SelfieError) -> None:
        self._errors = list(errors)
        self.asked = 0

    async def identity(self) -> EngineIdentity:
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)
        return IDENTITY

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        await self.identity()
        return [
            [Sample((seed,), weights_digest, "length", seed) for seed in prompt.seeds] for prompt in prompts
        ]


async def test_passing_failures_are_waited_out():
    engine = FailingEngine(Unavailable("restarting"), Overloaded("full", retry_after_s=0.001))
    assert await RetryingEngine(engine, QUICK).identity() == IDENTITY
    assert engine.asked == 3


async def test_the_same_prompts_and_seeds_are_asked_for_again():
    engine = RetryingEngine(FailingEngine(Unavailable("restarting")), QUICK)
    answer = await engine.sample(
        [SeededPrompt((1, 2), (5, 6))], SamplingParameters(0.7, 1.0, 4), weights_digest="b"
    )
    assert [(sample.seed, sample.text) for sample in answer[0]] == [(5, "b"), (6, "b")]


async def test_an_overloaded_engine_is_left_alone_for_as_long_as_it_asks():
    engine = RetryingEngine(FailingEngine(Overloaded("full", retry_after_s=0.2)), QUICK)
    started = time.monotonic()
    await engine.identity()
    assert time.monotonic() - started >= 0.2


async def test_an_engine_that_stays_away_fails_with_its_own_last_error():
    engine = FailingEngine(*(Unavailable(f"gone {time}") for time in range(9)))
    with pytest.raises(Unavailable, match="gone 3"):
        await RetryingEngine(engine, QUICK).identity()
    assert engine.asked == 4


async def test_waiting_ends_after_the_time_allowed():
    engine = FailingEngine(*(Overloaded("full", retry_after_s=0.05) for _ in range(99)))
    limits = RetryLimits(attempts=99, seconds=0.1, first_wait_s=0.001, longest_wait_s=0.01)
    with pytest.raises(Overloaded):
        await RetryingEngine(engine, limits).identity()
    assert engine.asked <= 4


async def test_an_error_that_waiting_cannot_mend_passes_through_at_once():
    engine = FailingEngine(FailedPrecondition("WeightsMismatch", "other weights"))
    with pytest.raises(FailedPrecondition):
        await RetryingEngine(engine, QUICK).identity()
    assert engine.asked == 1
