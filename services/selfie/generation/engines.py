"""What generation asks of an engine, whichever it is.

An adapter turns this into the calls of one engine (Selfie's own over gRPC, TGI, or anything
that speaks OpenAI's API) and raises the errors of `selfie.errors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from selfie.errors import FailedPrecondition, Unavailable

if TYPE_CHECKING:
    from selfie.models.chat import ChatTokenizer

FinishReason = Literal["stop", "length"]
IdsFrom = Literal["engine", "retokenized"]


class EngineFault(Unavailable):
    """An engine failed at this very request; waiting mends nothing, and asking often harms others.

    Whoever gets it asks once more at most, with another seed.
    """

    reason = "EngineFault"


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy that samples are wanted from, as far as is known.

    ``weights_digest`` is empty where any will do. ``tokenizer`` is what engines that take text, or
    give back text, are held against.
    """

    weights_digest: str = ""
    tokenizer: "ChatTokenizer | None" = None


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Who an engine is; two that are equal sample from the same distribution.

    ``weights_digest`` is that of the checkpoint it serves. ``tokenizer_digest`` is empty and
    ``max_context_tokens`` 0 where an engine does not tell.
    """

    weights_digest: str
    tokenizer_digest: str
    max_context_tokens: int
    precision: str
    engine: str


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """``temperature`` 0 is greedy, ``top_p`` 1 keeps the whole distribution.

    ``logprobs`` asks for those of the sampled tokens, from engines that can tell.
    """

    temperature: float
    top_p: float
    max_new_tokens: int
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class SeededPrompt:
    """Token ids of a prompt; one response is wanted for each seed."""

    prompt_ids: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One response, with the end-of-turn token if and only if it was sampled.

    ``text`` is without it. ``ids_from`` is ``retokenized`` where the engine gave text alone.
    ``seed`` is the one that the engine was given. ``logprobs`` are natural, one for each id, or
    empty where they were not asked for or not told; engines take them after the temperature, so
    they are the model's own at temperature 0 or 1 without a nucleus.
    """

    response_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    seed: int
    ids_from: IdsFrom = "engine"
    logprobs: tuple[float, ...] = ()


class Engine(Protocol):
    """An engine that serves one checkpoint."""

    async def identity(self) -> EngineIdentity:
        """Who answers right now."""

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        """One sample for each seed of each prompt, in the order given.

        Raises `FailedPrecondition` ``WeightsMismatch`` if the engine knows that it serves other
        weights than ``weights_digest``; an engine that can't know is caught by its identity.
        """


def require_weights(identity: EngineIdentity, weights_digest: str) -> None:
    """Raises `FailedPrecondition` ``WeightsMismatch`` unless the engine serves these weights."""
    if identity.weights_digest != weights_digest:
        raise FailedPrecondition(
            "WeightsMismatch",
            f"{identity.engine} serves the weights {identity.weights_digest}, "
            f"but the policy's are {weights_digest}; move the engine to them first",
        )


def require_tokenizer(identity: EngineIdentity, tokenizer_digest: str | None) -> None:
    """Raises `FailedPrecondition` ``TokenizerMismatch`` if both digests are known and differ."""
    if tokenizer_digest and identity.tokenizer_digest not in ("", tokenizer_digest):
        raise FailedPrecondition(
            "TokenizerMismatch",
            f"the prompts were tokenised with {tokenizer_digest}, but {identity.engine} has the "
            f"tokenizer {identity.tokenizer_digest}; their ids would mean other text",
        )
