"""Which two of a prompt's responses become a preference pair."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from selfie.errors import InvalidInput
from selfie.method.arrays import FloatArray, finite_vector, within
from selfie.method.choices import PairingName

Pairing: TypeAlias = Callable[[FloatArray, np.random.Generator], tuple[int, int]]


@dataclass(frozen=True)
class PairChoice:
    """Positions, among the responses given, of the better and the worse one."""

    winner: int
    loser: int


@dataclass(frozen=True)
class NoPair:
    """No preference can be read off these responses."""

    reason: Literal["tie", "identical", "too-few", "unfinished"]


def best_worst(scores: FloatArray, _rng: np.random.Generator) -> tuple[int, int]:
    """The highest and the lowest score."""
    return int(scores.argmax()), int(scores.argmin())


def best_random(scores: FloatArray, rng: np.random.Generator) -> tuple[int, int]:
    """The highest score and any other response, each as likely."""
    best = int(scores.argmax())
    others = np.delete(np.arange(scores.size), best)
    return best, int(rng.choice(others))


def at_random(scores: FloatArray, rng: np.random.Generator) -> tuple[int, int]:
    """Any two responses, each couple as likely."""
    first, second = rng.choice(scores.size, size=2, replace=False)
    return int(first), int(second)


PAIRINGS: Mapping[PairingName, Pairing] = MappingProxyType(
    {"best_worst": best_worst, "best_random": best_random, "random": at_random}
)


def choose_pair(
    scores: ArrayLike,
    *,
    responses: Sequence[tuple[int, ...]],
    strategy: PairingName,
    tie_band: float,
    rng: np.random.Generator,
) -> PairChoice | NoPair:
    """Pair two of one prompt's responses, or say why none is made.

    ``scores`` has shape [N], finite, higher is better; ``responses`` are the N sequences of token
    ids. Of identical responses only the first takes part. A pair whose scores differ by no more
    than ``tie_band`` (in the unit of the scores) is a tie. Raises `InvalidInput` on scores that
    are not finite or not one per response, and on a negative band.
    """
    vector = finite_vector("scores", scores)
    within("tie_band", tie_band, 0.0, float("inf"))
    if vector.size != len(responses):
        raise InvalidInput(
            "scores", f"holds {vector.size} for {len(responses)} responses", "give one per response"
        )
    if len(responses) < 2:
        return NoPair("too-few")
    distinct = _first_of_each(responses)
    if len(distinct) < 2:
        return NoPair("identical")
    first, second = (distinct[i] for i in PAIRINGS[strategy](vector[distinct], rng))
    margin = vector[first] - vector[second]
    if abs(margin) <= tie_band:
        return NoPair("tie")
    return PairChoice(first, second) if margin > 0 else PairChoice(second, first)


def _first_of_each(responses: Sequence[tuple[int, ...]]) -> list[int]:
    first_seen: dict[tuple[int, ...], int] = {}
    for position, response in enumerate(responses):
        first_seen.setdefault(response, position)
    return list(first_seen.values())
