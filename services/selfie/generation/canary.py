"""A canary: whether an engine's own numbers are those of the weights that it names.

An engine tells who it is by a name, and a name can be wrong: a reload that was skipped, a cache
that was not emptied. So it answers a few fixed questions greedily and says how likely it found
each token; the scorer computes the same for the policy meant and for the one before it. The
engine's numbers must lie nearer to the first, by more than the engine's own noise. Where the two
policies can't be told apart by that, nothing is proven or refuted, and the name decides.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.generation.engines import Engine, Sample, SamplingParameters, SeededPrompt
from selfie.models.chat import ChatTokenizer

Outcome: TypeAlias = Literal["proven", "refuted", "inconclusive"]

QUESTIONS = (
    "Name three things that float.",
    "Why is the sky dark at night?",
    "Write one sentence about a bridge.",
    "How many legs do two spiders have?",
    "What would you take to a desert?",
    "Explain what a key is for.",
    "Give a reason to get up early.",
    "Say something kind about rain.",
)
_TOKENS = 24
# Of the gap's mean over the questions: beyond two standard errors it is not chance.
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A greedy response and the engine's log-probability of each of its tokens, in nats."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


Logprobs: TypeAlias = Sequence[Sequence[float]]
Score: TypeAlias = Callable[[Sequence[Reading]], Awaitable[tuple[Logprobs, Logprobs]]]
"""Log-probabilities in nats of each reading's tokens: by the policy meant, and by the one before it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it; distances are mean absolute differences per token, in nats.

    ``present`` is that to the policy meant, ``previous`` that to the one before it; ``noise`` is
    what their difference has to exceed.
    """

    outcome: Outcome
    present: float = 0.0
    previous: float = 0.0
    noise: float = 0.0


async def ask_canary(
    engine: Engine, prompts: Sequence[SeededPrompt], weights_digest: str, score: Score
) -> Verdict:
    """Asks twice, to see what the engine's own noise is, and compares with the scorer."""
    readings = await _read(engine, prompts, weights_digest)
    again = await _read(engine, prompts, weights_digest)
    if not readings:
        return Verdict("inconclusive")
    return decide(readings, again, *await score(readings))


def canary_prompts(tokenizer: ChatTokenizer) -> list[SeededPrompt]:
    """The questions, as the policy reads them."""
    chats = ([{"role": "user", "content": question}] for question in QUESTIONS)
    return [SeededPrompt(tokenizer.prompt_ids(chat).ids, (0,)) for chat in chats]


def decide(
    readings: Sequence[Reading],
    again: Sequence[Reading],
    present: Logprobs,
    previous: Logprobs,
) -> Verdict:
    """Whose numbers the engine's are: the policy's, those of the one before, or neither for sure."""
    to_present = [_distance(one.logprobs, scores) for one, scores in zip(readings, present, strict=True)]
    to_previous = [_distance(one.logprobs, scores) for one, scores in zip(readings, previous, strict=True)]
    gaps = np.subtract(to_previous, to_present)
    chance = float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else float("inf")
    repeats = [_own_noise(one, other) for one, other in zip(readings, again, strict=True)]
    noise = float(np.mean(repeats)) + _STANDARD_ERRORS * chance
    gap = float(gaps.mean())
    outcome: Outcome = "inconclusive" if abs(gap) <= noise else "proven" if gap > 0 else "refuted"
    return Verdict(outcome, float(np.mean(to_present)), float(np.mean(to_previous)), noise)


def require_not_refuted(verdict: Verdict, weights_digest: str) -> None:
    """Raises `FailedPrecondition` ``CanaryRefuted`` if the engine computes with the weights of before."""
    if verdict.outcome == "refuted":
        raise FailedPrecondition(
            "CanaryRefuted",
            f"the engine says that it serves {weights_digest}, but its log-probabilities are those of the "
            f"policy before (nearer by {verdict.present - verdict.previous:.4f} nats a token, noise "
            f"{verdict.noise:.4f}); start the engine anew",
        )


async def _read(engine: Engine, prompts: Sequence[SeededPrompt], weights_digest: str) -> list[Reading]:
    """Readings of the prompts; none of an engine that does not tell its log-probabilities."""
    parameters = SamplingParameters(0.0, 1.0, _TOKENS, logprobs=True)
    try:
        answer = await engine.sample(prompts, parameters, weights_digest=weights_digest)
    except InvalidInput as error:
        if error.field != "parameters.logprobs":
            raise
        return []
    found = [_reading(prompt, samples[0]) for prompt, samples in zip(prompts, answer, strict=True)]
    return [reading for reading in found if reading is not None]


def _reading(prompt: SeededPrompt, sample: Sample) -> Reading | None:
    if not sample.response_ids or len(sample.logprobs) != len(sample.response_ids):
        return None
    return Reading(prompt.prompt_ids, sample.response_ids, sample.logprobs)


def _distance(engine: Sequence[float], scorer: Sequence[float]) -> float:
    return float(np.abs(np.subtract(engine, scorer)).mean())


def _own_noise(one: Reading, other: Reading) -> float:
    """Between two readings of one prompt, as far as they have the same tokens: a tie may fall either way."""
    pairs = zip(one.response_ids, other.response_ids, strict=False)
    same = next((place for place, (first, second) in enumerate(pairs) if first != second), None)
    length = min(len(one.logprobs), len(other.logprobs)) if same is None else same
    return _distance(one.logprobs[:length], other.logprobs[:length]) if length else 0.0
