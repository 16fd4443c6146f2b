"""What Text Generation Inference is asked for and answers, in its own terms. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from selfie.errors import InvalidInput
from selfie.generation.answers import SampledIds
from selfie.generation.digests import digest_in
from selfie.generation.engines import EngineIdentity, SamplingParameters
from selfie.generation.fleet.servers import Look
from selfie.generation.http.failures import unusable
from selfie.runs.method_fields import MOST_NEW_TOKENS_OF_TGI

# Permits are shared with whoever else asks; beyond them a request is refused at once.
_SHARE_OF_PERMITS = 0.8
# Its name for the precision is a flag of its launcher, which no route tells.
_UNKNOWN_PRECISION = "unknown"

Id = Annotated[int, Field(ge=0)]


class Info(BaseModel):
    """Answer of ``/info``, as far as it is used; ``version`` lags behind the release."""

    model_id: str
    version: str
    max_concurrent_requests: Annotated[int, Field(ge=1)]
    max_total_tokens: Annotated[int, Field(ge=1)]


class _Token(BaseModel):
    id: Id
    logprob: float | None = None


class _Details(BaseModel):
    finish_reason: str
    seed: int | None = None
    tokens: list[_Token]
    generated_tokens: int


class _TokenId(BaseModel):
    id: Id


_TOKENS = TypeAdapter(list[_TokenId])


def look_of(answer: Any, where: str) -> Look:
    """What ``/info`` says."""
    try:
        info = Info.model_validate(answer)
    except ValidationError as error:
        raise unusable(
            f"{where}/info", f"no description of a TGI server ({error.error_count()} mistakes)"
        ) from error
    identity = EngineIdentity(
        weights_digest=digest_in(info.model_id),
        tokenizer_digest="",
        max_context_tokens=info.max_total_tokens,
        precision=_UNKNOWN_PRECISION,
        engine=f"tgi/{info.version}",
    )
    return Look(identity, permits=max(1, int(info.max_concurrent_requests * _SHARE_OF_PERMITS)))


def ids_of(answer: Any, where: str) -> tuple[int, ...]:
    """The ids that ``/tokenize`` tells."""
    try:
        return tuple(token.id for token in _TOKENS.validate_python(answer))
    except ValidationError as error:
        raise unusable(f"{where}/tokenize", "no list of tokens") from error


def generation_arguments(parameters: SamplingParameters, seed: int) -> dict[str, Any]:
    """Parameters of one generation, always with ``do_sample``, whose default depends on the others.

    Raises `InvalidInput` for more new tokens than it generates in one go.
    """
    new = parameters.max_new_tokens
    if new > MOST_NEW_TOKENS_OF_TGI:
        raise InvalidInput(
            "generation.maxNewTokens",
            f"{new} new tokens are more than the {MOST_NEW_TOKENS_OF_TGI} that TGI samples in one go",
            f"ask for at most {MOST_NEW_TOKENS_OF_TGI}, or use another engine",
        )
    common = {"details": True, "return_full_text": False, "max_new_tokens": new}
    if parameters.temperature == 0.0:
        return common | {"do_sample": False}
    sampled = common | {"do_sample": True, "seed": seed, "temperature": parameters.temperature}
    # The whole distribution is what it keeps without being told, and a nucleus of 1 is refused.
    return sampled if parameters.top_p >= 1.0 else sampled | {"top_p": parameters.top_p}


def sampled_ids(details: Mapping[str, Any] | None, seed: int, where: str) -> SampledIds:
    """The response in the details of a generation."""
    try:
        found = _Details.model_validate(details)
    except ValidationError as error:
        raise unusable(where, "no details of its tokens") from error
    if found.generated_tokens != len(found.tokens):
        raise unusable(where, f"{len(found.tokens)} tokens for {found.generated_tokens} that it says it made")
    return SampledIds(
        ids=tuple(token.id for token in found.tokens),
        seed=seed if found.seed is None else found.seed,
        stopped=found.finish_reason != "length",
        # What is not finite is told as null.
        logprobs=tuple(float("-inf") if token.logprob is None else token.logprob for token in found.tokens),
    )
