"""What several runs that differ in their random seed alone say about the method, not about one run."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from selfie.method.arrays import filled_vector
from selfie.method.statistics import Difference, McNemar, mcnemar_exact

MIN_SEEDS = 6
"""Fewest seeds for a claim: the sign test of five that all agree still has p = 0.063."""


@dataclass(frozen=True)
class OverSeeds:
    """A mean over n ≥ 2 seeds with Student's 95 % interval.

    ``p_value`` is Student's, of a mean of 0; ``sign`` counts the seeds above and below 0, with the
    exact p of so uneven a split.
    """

    mean: Difference
    p_value: float
    sign: McNemar


def over_seeds(values: ArrayLike, *, level: float = 0.95) -> OverSeeds:
    """Mean of one value per seed. Equal values have an interval of no width: they say nothing of chance."""
    found = filled_vector("values", values)
    mean = float(found.mean())
    error = float(found.std(ddof=1)) / math.sqrt(found.size)
    half_width = student_quantile(0.5 + level / 2, found.size - 1) * error
    return OverSeeds(
        mean=Difference(mean, mean - half_width, mean + half_width, found.size),
        p_value=_two_sided(mean, error, found.size - 1),
        sign=mcnemar_exact(found, np.zeros_like(found)),
    )


def student_within(t: float, degrees: int) -> float:
    """Probability that |T| ≤ t for Student's T with ``degrees`` ≥ 1 degrees of freedom.

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    if odd:
        return 2.0 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def student_quantile(probability: float, degrees: int) -> float:
    """The t with P(T ≤ t) = ``probability``, which is from ½ to below 1."""
    return _inverse(lambda t: 0.5 + student_within(t, degrees) / 2, probability)


def _inverse(rising: Callable[[float], float], target: float) -> float:
    high = 1.0
    while rising(high) < target:
        high *= 2.0
    low = 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high


def _two_sided(mean: float, error: float, degrees: int) -> float:
    if error == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return max(0.0, 1.0 - student_within(abs(mean) / error, degrees))
