"""What OpenAI-compatible servers answer, as far as it is used, with what vLLM and SGLang add. Pure."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from selfie.errors import FailedPrecondition
from selfie.generation.answers import SampledIds, require_same_ids, sample_of_ids, sample_of_text
from selfie.generation.digests import digest_in
from selfie.generation.engines import EngineFault, Sample
from selfie.generation.fleet.servers import Wanted
from selfie.generation.http.failures import unusable

Id = Annotated[int, Field(ge=0)]
Answer = TypeVar("Answer", bound=BaseModel)


class ModelCard(BaseModel):
    """A model that a server has; ``parent`` is set for an adapter, ``root`` is where it lies."""

    id: str
    owned_by: str | None = None
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class ModelList(BaseModel):
    """Answer of ``/v1/models``."""

    data: list[ModelCard]


class WeightSpan(BaseModel):
    """vLLM: the weights that sampled a stretch of a response."""

    version: str


class Logprobs(BaseModel):
    """Of the sampled tokens."""

    token_logprobs: list[float | None]


class Choice(BaseModel):
    """One response; the ids are there where they were asked for and are known."""

    index: int
    text: str
    finish_reason: str | None = None
    token_ids: list[Id] | None = None
    prompt_token_ids: list[Id] | None = None
    logprobs: Logprobs | None = None
    weight_versions: list[WeightSpan] | None = None


class Usage(BaseModel):
    """How many tokens the server has counted."""

    prompt_tokens: int


class Metadata(BaseModel):
    """SGLang: the weights that answered."""

    weight_version: str | None = None


class Completion(BaseModel):
    """Answer of ``/v1/completions``."""

    model: str = ""
    choices: list[Choice]
    usage: Usage | None = None
    metadata: Metadata | None = None

    @property
    def versions(self) -> set[str]:
        """Every name that the server gives to the weights of this answer."""
        spans = {span.version for choice in self.choices for span in choice.weight_versions or ()}
        told = self.metadata.weight_version if self.metadata else None
        return spans | ({told} if told else set())


def parsed(kind: type[Answer], answer: Any, where: str) -> Answer:
    """The answer, or `FailedPrecondition` ``EngineAnswerUnusable``."""
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise unusable(where, f"no {kind.__name__} (see {place or 'all of it'})") from error


def samples_of(completion: Completion, wanted: Wanted, seeds: Sequence[int], where: str) -> list[Sample]:
    """One sample for each seed, in their order; the choices may come in another."""
    choices = sorted(completion.choices, key=lambda choice: choice.index)
    if [choice.index for choice in choices] != list(range(len(seeds))):
        raise unusable(where, f"{len(choices)} responses for {len(seeds)}")
    _require_weights(completion, wanted.policy.weights_digest, where)
    if any(choice.token_ids is None for choice in choices):
        _require_length(completion, wanted, where)
    return [_sample(choice, wanted, seed, where) for choice, seed in zip(choices, seeds, strict=True)]


def require_name(completion: Completion, model: str, where: str) -> None:
    """Raises `FailedPrecondition` ``WeightsMismatch`` unless the model that was named has answered."""
    # transformers answers with the revision, which of a directory is always its main one.
    if completion.model not in (model, f"{model}@main"):
        raise FailedPrecondition(
            "WeightsMismatch", f"{where} was asked for {model}, and {completion.model or 'nobody'} answered"
        )


def _sample(choice: Choice, wanted: Wanted, seed: int, where: str) -> Sample:
    if choice.finish_reason not in ("stop", "length"):
        raise EngineFault(f"{where} ended a response by {choice.finish_reason!r}")
    stopped = choice.finish_reason == "stop"
    if choice.token_ids is None:
        return sample_of_text(choice.text, stopped=stopped, seed=seed, tokenizer=wanted.tokenizer)
    if choice.prompt_token_ids is not None:
        require_same_ids(wanted.prompt_ids, choice.prompt_token_ids, where)
    told = choice.logprobs.token_logprobs if choice.logprobs else []
    logprobs = tuple(float("-inf") if value is None else value for value in told)
    found = SampledIds(tuple(choice.token_ids), seed, stopped, logprobs)
    return sample_of_ids(found, wanted.parameters.max_new_tokens, wanted.tokenizer)


def _require_weights(completion: Completion, weights_digest: str, where: str) -> None:
    others = {version for version in completion.versions if digest_in(version)} - {weights_digest}
    if weights_digest and others:
        raise FailedPrecondition(
            "WeightsMismatch",
            f"{where} sampled with the weights {', '.join(sorted(others))}, not {weights_digest}",
        )


def _require_length(completion: Completion, wanted: Wanted, where: str) -> None:
    """A server that takes and gives text says at least how many tokens it has read."""
    counted = completion.usage.prompt_tokens if completion.usage else None
    if counted != len(wanted.prompt_ids):
        raise FailedPrecondition(
            "PromptIdsDiffer",
            f"{where} read {counted} tokens in a prompt of {len(wanted.prompt_ids)}; serve the published "
            "checkpoint with its own tokenizer files, or use an engine that takes token ids",
        )
