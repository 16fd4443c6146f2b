"""What an engine is asked for at once, and that nothing is left behind when it is stopped."""

import asyncio
from collections.abc import Sequence

import pytest

from selfie.errors import Cancelled, Unavailable
from selfie.generation.engines import EngineIdentity, Sample, SamplingParameters, SeededPrompt
from selfie.generation.flow import Calls, Flow, run_bounded

PARAMETERS = SamplingParameters(0.7, 1.0, 8)


class CountingEngine:
    """Answers each seed with itself and notes what it was asked, and how much at once."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[int, int]]] = []
        self.now = 0
        self.most = 0

    async def identity(self) -> EngineIdentity:
        raise NotImplementedError

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        self.asked.append([(len(prompt.prompt_ids), len(prompt.seeds)) for prompt in prompts])
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        return [[Sample((seed,), "", "length", seed) for seed in prompt.seeds] for prompt in prompts]


def prompts(*lengths: int, samples: int = 2) -> list[SeededPrompt]:
    return [
        SeededPrompt((0,) * length, tuple(range(place * samples, (place + 1) * samples)))
        for place, length in enumerate(lengths)
    ]


def calls(
    engine: CountingEngine, rows_per_call: int, *, at_once: int = 4, arrived=lambda samples: None
) -> Calls:
    return Calls(engine, PARAMETERS, "a" * 64, rows_per_call=rows_per_call, at_once=at_once, arrived=arrived)


async def test_prompts_of_like_length_share_a_call_and_answers_keep_the_order_of_the_prompts():
    engine, asked = CountingEngine(), prompts(9, 2, 8, 3)
    answer = await calls(engine, 4).sample(asked)
    assert sorted(engine.asked) == [[(2, 2), (3, 2)], [(8, 2), (9, 2)]]
    assert [[sample.seed for sample in samples] for samples in answer] == [[0, 1], [2, 3], [4, 5], [6, 7]]


async def test_a_prompt_with_more_samples_than_a_call_holds_is_a_call_of_its_own():
    engine = CountingEngine()
    await calls(engine, 4).sample(prompts(2, 3, samples=6))
    assert engine.asked == [[(2, 6)], [(3, 6)]]


async def test_the_bound_on_calls_holds_over_all_shards_together():
    engine = CountingEngine()
    shared = calls(engine, 2, at_once=3)
    await asyncio.gather(*(shared.sample(prompts(*range(1, 6))) for _ in range(4)))
    assert engine.most == 3
    assert len(engine.asked) == 20


async def test_what_arrives_is_told_at_once_and_may_end_the_work():
    engine, seen = CountingEngine(), []

    def refuse(samples: Sequence[Sample]) -> None:
        seen.extend(samples)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        await calls(engine, 2, at_once=1, arrived=refuse).sample(prompts(1, 2, 3))
    assert len(seen) == 2
    assert len(engine.asked) == 1


async def test_no_more_than_the_bound_is_begun():
    begun, most = 0, 0

    async def work() -> None:
        nonlocal begun, most
        begun += 1
        most = max(most, begun)
        await asyncio.sleep(0)
        begun -= 1

    await run_bounded((work() for _ in range(20)), at_once=4)
    assert most == 4


async def test_an_error_cancels_the_others_and_is_raised_as_it_is():
    ended = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async def fail() -> None:
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        await run_bounded(iter([wait_for_ever(), wait_for_ever(), fail()]), at_once=3)
    assert ended == ["cancelled", "cancelled"]


async def test_a_stop_is_noticed_while_nothing_ends():
    signs = 0

    def sign() -> None:
        nonlocal signs
        signs += 1
        if signs == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        await run_bounded(iter([asyncio.sleep(60)]), at_once=1, sign=sign, every_s=0.01)


@pytest.mark.parametrize(
    ("shard_rows", "calls_expected", "shards_expected"), [(16, 16, 16), (64, 4, 4), (4096, 4, 1)]
)
def test_small_shards_are_asked_for_together_and_large_ones_in_parts(
    shard_rows, calls_expected, shards_expected
):
    flow = Flow(rows_per_call=64, rows_at_once=256)
    assert flow.calls_at_once(shard_rows) == calls_expected
    assert flow.shards_at_once(shard_rows) == shards_expected
