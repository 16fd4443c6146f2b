"""From what engines answer to samples, the same way for all of them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from selfie.errors import FailedPrecondition
from selfie.generation.engines import FinishReason, Sample
from selfie.models.chat import ChatTokenizer


@dataclass(frozen=True, slots=True)
class SampledIds:
    """A response as an engine gave it: ids, its seed, and whether it says that the model stopped."""

    ids: tuple[int, ...]
    seed: int
    stopped: bool
    logprobs: tuple[float, ...] = field(default=())


def sample_of_ids(found: SampledIds, max_new_tokens: int, tokenizer: ChatTokenizer) -> Sample:
    """The sample, with its text made from the ids.

    Engines differ in when they say that the model stopped, and some run on past the end of the
    turn, or past the limit: a response ends with its first end-of-turn token, or at the limit, and
    that alone decides. Text that was cut inside a character is what the whole tokens say.

    Raises `FailedPrecondition` ``EndOfTurnDiffers`` when the engine stopped at something that is
    no end of a turn for the policy's tokenizer.
    """
    ids = found.ids[:max_new_tokens]
    end = next((place for place, token in enumerate(ids) if token in tokenizer.end_of_turn_ids), None)
    if end is not None:
        ids = ids[: end + 1]
    elif found.stopped and len(ids) < max_new_tokens:
        raise FailedPrecondition(
            "EndOfTurnDiffers",
            f"the engine ended a response with the token {ids[-1] if ids else None}, and the policy's turns "
            f"end with {sorted(tokenizer.end_of_turn_ids)}; publish the checkpoint with these as a list in "
            "eos_token_id of generation_config.json",
        )
    return Sample(
        response_ids=ids,
        text=tokenizer.decode_response(ids),
        finish_reason=_reason(ended=end is not None),
        seed=found.seed,
        logprobs=found.logprobs[: len(ids)],
    )


def sample_of_text(text: str, *, stopped: bool, seed: int, tokenizer: ChatTokenizer) -> Sample:
    """The sample of an engine that gives back text alone: its ids are made again."""
    finished = tokenizer.response_ids(text)
    return Sample(
        response_ids=finished if stopped else finished[:-1],
        text=text,
        finish_reason=_reason(ended=stopped),
        seed=seed,
        ids_from="retokenized",
    )


def require_same_ids(expected: Sequence[int], found: Sequence[int], where: str) -> None:
    """Raises `FailedPrecondition` ``PromptIdsDiffer`` unless the engine reads a prompt as its ids say."""
    if tuple(expected) == tuple(found):
        return
    pairs = zip(expected, found, strict=False)
    place = next((index for index, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    if place is None:
        difference = f"{len(found)} ids in place of {len(expected)}"
    else:
        difference = f"{found[place]} in place of {expected[place]} as id {place} of {len(expected)}"
    raise FailedPrecondition(
        "PromptIdsDiffer",
        f"{where} reads a prompt otherwise than the policy's tokenizer ({difference}); serve the published "
        "checkpoint with its own tokenizer files, or use an engine that takes token ids",
    )


def _reason(*, ended: bool) -> FinishReason:
    return "stop" if ended else "length"
