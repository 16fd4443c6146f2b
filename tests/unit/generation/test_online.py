"""The online call: chats and ids, seeds, and what is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.generation.engines import EngineIdentity, Sample, SamplingParameters, SeededPrompt
from selfie.generation.online import Generator, Wish
from selfie.models.chat import ChatTokenizer

CHAT = [{"role": "user", "content": "What is the capital of France?"}]
WISH = Wish(samples=3, parameters=SamplingParameters(0.7, 1.0, 8), random_seed=5)


class EchoingEngine:
    """Answers each seed with the prompt's ids."""

    def __init__(self, tokenizer_digest: str = "") -> None:
        self._tokenizer_digest = tokenizer_digest
        self.expected: list[str] = []

    async def identity(self) -> EngineIdentity:
        return EngineIdentity("a" * 64, self._tokenizer_digest, 64, "float32", "toy/1")

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        self.expected.append(weights_digest)
        return [[Sample(prompt.prompt_ids, "", "stop", seed) for seed in prompt.seeds] for prompt in prompts]


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> ChatTokenizer:
    return ChatTokenizer(tiny_checkpoint)


async def test_a_chat_is_rendered_with_the_policys_template(tokenizer):
    found = await Generator(EchoingEngine(tokenizer.tokenizer_digest), tokenizer).from_messages(CHAT, WISH)
    assert found.prompt_ids == tokenizer.prompt_ids(CHAT).ids
    assert found.samples[0].response_ids == found.prompt_ids


async def test_the_same_wish_has_the_same_seeds_and_another_prompt_has_others():
    generator = Generator(EchoingEngine(), None)
    first, again, other = [
        {sample.seed for sample in (await generator.from_ids(ids, WISH)).samples}
        for ids in ((1, 2), (1, 2), (1, 3))
    ]
    assert first == again
    assert len(first) == 3
    assert not first & other


async def test_the_answer_is_bound_to_the_weights_that_the_engine_named():
    engine = EchoingEngine()
    found = await Generator(engine, None).from_ids((1, 2), WISH)
    assert found.weights_digest == "a" * 64
    assert engine.expected == ["a" * 64]


async def test_chats_are_refused_without_a_tokenizer_with_what_to_do():
    with pytest.raises(FailedPrecondition, match="--tokenizer DIR"):
        await Generator(EchoingEngine(), None).from_messages(CHAT, WISH)


async def test_chats_are_refused_if_the_engine_has_another_tokenizer(tokenizer):
    with pytest.raises(FailedPrecondition) as caught:
        await Generator(EchoingEngine("f" * 64), tokenizer).from_messages(CHAT, WISH)
    assert caught.value.reason == "TokenizerMismatch"


async def test_a_prompt_that_leaves_no_room_names_a_field_of_the_request():
    with pytest.raises(InvalidInput, match="at most 4") as caught:
        await Generator(EchoingEngine(), None).from_ids((1,) * 60, WISH)
    assert caught.value.field == "parameters.max_new_tokens"
