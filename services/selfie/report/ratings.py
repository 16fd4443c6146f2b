"""Rates responses by an evaluator that is not the policy, and counts who wins on the same prompts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from selfie.method.arrays import FloatArray
from selfie.method.oracles import EVALUATORS
from selfie.method.statistics import Difference, paired_bootstrap
from selfie.method.win_rates import WinRate, win_rate
from selfie.report.heldout import content_digests

ResponseKey = tuple[str, str, int]
"""A prompt's name and the digest of its messages, and which of its samples."""


@dataclass(frozen=True)
class RatedResponse:
    """What the evaluator gives a response, a finite number, and its length in tokens."""

    rating: float
    tokens: int


Rated = Mapping[ResponseKey, RatedResponse]


@dataclass(frozen=True)
class Place:
    """A step, and the groups of which the first that it has is read."""

    step: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class ResponseBaseline:
    """Responses that every round's are held against, and where a fitted evaluator has rated them."""

    name: str
    responses: Place
    ratings: Place


BASELINES = (
    ResponseBaseline(
        "seed",
        Place("rounds/00/evaluate-measures", ("responses",)),
        Place("rounds/00/evaluate-ratings", ("ratings",)),
    ),
    ResponseBaseline(
        "initial",
        Place("rounds/00/evaluate-initial", ("responses", "samples")),
        Place("rounds/00/evaluator", ("initial-ratings",)),
    ),
)
"""A step that is not there is no baseline."""


@dataclass(frozen=True)
class Quality:
    """Responses of one policy by the evaluator; ``against_seed`` compares on the same prompts.

    ``wins`` are by baseline.
    """

    mean: Difference
    against_seed: Difference | None
    wins: Mapping[str, WinRate]


def rate(evaluator: str, responses: pa.Table | None, ratings: pa.Table | None = None) -> Rated:
    """The responses by SAMPLE_SCHEMA that have a rating: an oracle's, or one of ``ratings``.

    ``ratings``, by RATING_SCHEMA, are those of an evaluator that the run has fitted.
    """
    if responses is None:
        return {}
    contents = content_digests(responses["messages"].to_pylist())
    lengths = pc.list_value_length(responses["response_ids"]).to_pylist()
    names = (responses[name].to_pylist() for name in ("prompt_id", "sample_index"))
    values = _values(evaluator, responses, ratings)
    return {
        (prompt, content, index): RatedResponse(value, tokens)
        for prompt, index, content, tokens, value in zip(*names, contents, lengths, values, strict=True)
        if math.isfinite(value)
    }


def _values(evaluator: str, responses: pa.Table, ratings: pa.Table | None) -> list[float]:
    """A rating for each response, in their order; not a number where there is none."""
    if evaluator in EVALUATORS:
        return [EVALUATORS[evaluator](text) for text in responses["response_text"].to_pylist()]
    if ratings is None:
        return [math.nan] * responses.num_rows
    names = ("prompt_id", "sample_index")
    found = dict(zip(_keys(ratings, names), ratings["rating"].to_pylist(), strict=True))
    return [found.get(key, math.nan) for key in _keys(responses, names)]


def _keys(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[object, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def quality_of(mine: Rated, baselines: Mapping[str, Rated]) -> Quality | None:
    """The mean rating of responses, and how they do against each baseline; None where none is rated.

    Every prompt counts once; intervals are bootstraps over prompts.
    """
    if not mine:
        return None
    means = _by_prompt({key: found.rating for key, found in mine.items()})
    gains = _gains(mine, baselines.get("seed", {}))
    found = {name: wins(mine, theirs) for name, theirs in baselines.items()}
    return Quality(
        mean=paired_bootstrap(means, np.zeros_like(means), seed=0),
        against_seed=paired_bootstrap(gains, np.zeros_like(gains), seed=0) if gains.size else None,
        wins={name: against for name, against in found.items() if against},
    )


def wins(mine: Rated, theirs: Rated) -> WinRate | None:
    """How often mine rate higher on the same prompts; None where there is none that both answered."""
    both = [key for key in mine if key in theirs]
    if not both:
        return None
    gaps = np.array([mine[key].rating - theirs[key].rating for key in both])
    lengths = np.array([mine[key].tokens - theirs[key].tokens for key in both])
    return win_rate((np.sign(gaps) + 1) / 2, lengths, [_prompt(key) for key in both])


def _gains(mine: Rated, theirs: Rated) -> FloatArray:
    return _by_prompt({key: mine[key].rating - theirs[key].rating for key in mine if key in theirs})


def _by_prompt(values: Mapping[ResponseKey, float]) -> FloatArray:
    of_prompt: dict[str, list[float]] = {}
    for key, value in values.items():
        of_prompt.setdefault(_prompt(key), []).append(value)
    return np.array([math.fsum(each) / len(each) for each in of_prompt.values()])


def _prompt(key: ResponseKey) -> str:
    return "/".join(key[:2])
