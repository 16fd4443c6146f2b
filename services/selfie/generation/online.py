"""The online call: N samples of one prompt, and who sampled them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.generation.engines import (
    Engine,
    EngineIdentity,
    Sample,
    SamplingParameters,
    SeededPrompt,
    require_tokenizer,
)
from selfie.generation.seeds import derive_seeds
from selfie.models.chat import ChatTokenizer, ids_digest

# Keeps the seeds of online calls apart from those of every step of a run.
_STEP = "online"


@dataclass(frozen=True, slots=True)
class Wish:
    """How many samples, drawn how, from which random seed."""

    samples: int
    parameters: SamplingParameters
    random_seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """Samples of one prompt, its ids as the model read them, and the digest of the weights."""

    samples: list[Sample]
    prompt_ids: tuple[int, ...]
    weights_digest: str


class Generator:
    """Answers online calls; ``tokenizer`` is that of the policy, None where only ids are taken."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer | None) -> None:
        self._engine = engine
        self._tokenizer = tokenizer

    async def from_messages(self, messages: Sequence[Mapping[str, str]], wish: Wish) -> Generation:
        """Samples the answer to a chat, rendered with the policy's template."""
        if self._tokenizer is None:
            raise FailedPrecondition(
                "TokenizerMissing",
                "this service has no chat template; give prompt_ids, or start it with --tokenizer DIR",
            )
        prompt_ids = self._tokenizer.prompt_ids(messages).ids
        identity = await self._engine.identity()
        require_tokenizer(identity, self._tokenizer.tokenizer_digest)
        return await self._generate(prompt_ids, wish, identity)

    async def from_ids(self, prompt_ids: tuple[int, ...], wish: Wish) -> Generation:
        """Samples what follows a tokenised prompt."""
        return await self._generate(prompt_ids, wish, await self._engine.identity())

    async def _generate(
        self, prompt_ids: tuple[int, ...], wish: Wish, identity: EngineIdentity
    ) -> Generation:
        _check_room(len(prompt_ids), wish.parameters.max_new_tokens, identity.max_context_tokens)
        seeds = derive_seeds(wish.random_seed, _STEP, ids_digest(prompt_ids), wish.samples)
        digest = identity.weights_digest
        [samples] = await self._engine.sample(
            [SeededPrompt(prompt_ids, seeds)], wish.parameters, weights_digest=digest
        )
        return Generation(samples, prompt_ids, digest)


def _check_room(length: int, new: int, room: int) -> None:
    if room and length + new > room:
        raise InvalidInput(
            "parameters.max_new_tokens",
            f"{new} new tokens after a prompt of {length} exceed the engine's {room}",
            f"ask for at most {max(0, room - length)}, or shorten the prompt",
        )
