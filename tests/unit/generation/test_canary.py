"""Whether an engine's numbers are those of the weights that it names."""

import random
from collections.abc import Sequence

import pytest

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.generation.canary import Reading, Verdict, ask_canary, canary_prompts, decide, require_not_refuted
from selfie.generation.engines import EngineIdentity, Sample, SeededPrompt
from selfie.models.chat import ChatTokenizer

POLICY = "a" * 64


def scores(policy: str, reading: Reading) -> list[float]:
    rng = random.Random(f"{policy}{reading.response_ids}")
    return [-rng.random() * 2 for _ in reading.response_ids]


class ToyEngine:
    """Computes with ``policy``, off by up to ``noise`` in each token, and answers as it likes."""

    def __init__(self, policy: str, noise: float = 0.0, *, tells: bool = True) -> None:
        self._policy = policy
        self._noise = random.Random(1), noise
        self._tells = tells

    async def identity(self) -> EngineIdentity:
        return EngineIdentity(POLICY, "", 0, "", "toy")

    async def sample(self, prompts: Sequence[SeededPrompt], parameters, *, weights_digest: str):
        assert (parameters.temperature, parameters.logprobs) == (0.0, True)
        return [[self._answer(prompt)] for prompt in prompts]

    def _answer(self, prompt: SeededPrompt) -> Sample:
        ids = tuple(range(prompt.prompt_ids[0], prompt.prompt_ids[0] + 20))
        rng, noise = self._noise
        exact = scores(self._policy, Reading(prompt.prompt_ids, ids, ()))
        told = tuple(value + rng.uniform(-noise, noise) for value in exact)
        return Sample(ids, "", "length", 0, logprobs=told if self._tells else ())


def scorer(present: str, previous: str):
    async def score(readings: Sequence[Reading]) -> tuple[list[list[float]], list[list[float]]]:
        one, other = ([scores(policy, reading) for reading in readings] for policy in (present, previous))
        return one, other

    return score


PROMPTS = [SeededPrompt((place * 100,), (0,)) for place in range(8)]


async def verdict_of(engine: ToyEngine, present: str = "new", previous: str = "old") -> Verdict:
    return await ask_canary(engine, PROMPTS, POLICY, scorer(present, previous))


async def test_an_engine_that_computes_with_the_policy_is_proven():
    verdict = await verdict_of(ToyEngine("new", noise=0.05))
    assert verdict.outcome == "proven"
    assert verdict.present < 0.1 < verdict.previous


async def test_an_engine_that_still_computes_with_the_policy_before_is_refuted():
    verdict = await verdict_of(ToyEngine("old", noise=0.05))
    assert verdict.outcome == "refuted"
    with pytest.raises(FailedPrecondition, match="those of the policy before") as caught:
        require_not_refuted(verdict, POLICY)
    assert caught.value.reason == "CanaryRefuted"


async def test_policies_that_are_alike_cannot_be_told_apart():
    verdict = await verdict_of(ToyEngine("new", noise=0.05), previous="new")
    assert verdict.outcome == "inconclusive"
    require_not_refuted(verdict, POLICY)


async def test_an_engine_with_much_noise_of_its_own_proves_nothing():
    assert (await verdict_of(ToyEngine("new", noise=5.0))).outcome == "inconclusive"


async def test_an_engine_that_is_neither_proves_nothing():
    assert (await verdict_of(ToyEngine("a third"))).outcome == "inconclusive"


async def test_an_engine_that_tells_no_log_probabilities_proves_nothing():
    assert await verdict_of(ToyEngine("new", tells=False)) == Verdict("inconclusive")

    class Refusing(ToyEngine):
        async def sample(self, prompts, parameters, *, weights_digest):
            raise InvalidInput("parameters.logprobs", "it tells none", "ask without")

    assert await verdict_of(Refusing("new")) == Verdict("inconclusive")


def test_one_question_alone_proves_nothing():
    reading = Reading((1,), (2, 3), (-1.0, -1.0))
    assert decide([reading], [reading], [(-1.0, -1.0)], [(-2.0, -2.0)]).outcome == "inconclusive"


def test_two_readings_are_compared_up_to_where_they_part():
    readings = [Reading((place,), (2, 3), (-1.0, -1.0)) for place in range(3)]
    again = [Reading((place,), (2, 4), (-1.25, -9.0)) for place in range(3)]
    found = decide(readings, again, [(-1.0, -1.0)] * 3, [(-2.0, -2.0)] * 3)
    assert (found.outcome, found.noise) == ("proven", 0.25)


def test_the_questions_are_read_as_the_policy_reads_them(tiny_checkpoint):
    tokenizer = ChatTokenizer(tiny_checkpoint)
    prompts = canary_prompts(tokenizer)
    assert len({prompt.prompt_ids for prompt in prompts}) == 8
    assert tokenizer.decode_prompt(prompts[0].prompt_ids).endswith("<|im_start|>assistant\n")
