"""What held-out pairs say about a judge, with the uncertainty that goes with it.

Margins here are β-scaled rewards of the response that people chose less those of the other, so a
right judgement is a positive margin. A tie is half right.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from selfie.errors import InvalidInput
from selfie.method.arrays import FloatArray, filled_vector, floats, same_shape, within
from selfie.method.logspace import log_sigmoid
from selfie.method.rewards import preference_probability

# Differences of credits are 0, ±½ and ±1: to draw how often each occurs is to draw the pairs, and faster.
_FEW = 5


@dataclass(frozen=True)
class Proportion:
    """A share of ``n`` pairs, from 0 to 1, and the interval it is believed to lie in."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """A mean of ``n`` paired differences, first less second, and its interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class McNemar:
    """Pairs that only one of two judges got right, and how likely so uneven a split is."""

    first_only: int
    second_only: int
    p_value: float


def pair_credits(margins: ArrayLike, *, tie_band: float = 0.0) -> FloatArray:
    """1 for each right judgement, ½ for a tie (|margin| ≤ ``tie_band``), else 0; shape [n]."""
    within("tie_band", tie_band, 0.0, math.inf)
    values = filled_vector("margins", margins)
    return floats(np.where(np.abs(values) <= tie_band, 0.5, values > 0))


def accuracy(margins: ArrayLike, *, tie_band: float = 0.0, level: float = 0.95) -> Proportion:
    """Share of right judgements, ties counted half, with Wilson's interval; n ≥ 1 pairs."""
    won = pair_credits(margins, tie_band=tie_band)
    return wilson_interval(float(won.sum()), won.size, level=level)


def wilson_interval(successes: float, n: int, *, level: float = 0.95) -> Proportion:
    """Wilson's score interval of ``successes`` out of ``n`` ≥ 1; halves are allowed."""
    within("n", n, 1, math.inf)
    value = within("successes", successes, 0.0, n) / n
    deviate = _deviate(level)
    spread = deviate**2 / n
    centre = (value + spread / 2) / (1 + spread)
    half_width = math.sqrt(spread * (value * (1 - value) + spread / 4)) / (1 + spread)
    # Where the value is 0 or 1 one bound equals it; rounding must not push it outside.
    low = max(0.0, min(value, centre - half_width))
    high = min(1.0, max(value, centre + half_width))
    return Proportion(value=value, low=low, high=high, n=n)


def log_loss(margins: ArrayLike) -> float:
    """Mean of −log σ(margin), in nats, over n ≥ 1 pairs; log 2 for a judge that knows nothing."""
    return float(-log_sigmoid(filled_vector("margins", margins)).mean())


def expected_calibration_error(margins: ArrayLike, *, bins: int = 10) -> float:
    """Mean gap between how sure the judge is and how often it is right, from 0 to 1.

    The judge is max(p, 1 − p) sure of its preference. Pairs are put into ``bins`` of equal width
    between one half and 1; each bin's gap counts by its number of pairs.
    """
    within("bins", bins, 1, math.inf)
    right = pair_credits(margins)
    probability = preference_probability(margins)
    sure = np.maximum(probability, 1.0 - probability)
    bin_of = np.minimum(((sure - 0.5) * 2 * bins).astype(np.intp), bins - 1)
    gaps = np.bincount(bin_of, weights=sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / right.size)


def mcnemar_exact(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test of two judges on the same n ≥ 1 pairs.

    Arguments are `pair_credits` (or booleans) of both. A pair counts for the judge that has more credit
    on it, so a tie beside a right judgement counts too (the sign test, where there are ties).
    """
    gains = _paired_differences(first, second)
    first_only, second_only = int((gains > 0).sum()), int((gains < 0).sum())
    discordant = first_only + second_only
    ways = tail = 1
    for k in range(min(first_only, second_only)):
        ways = ways * (discordant - k) // (k + 1)
        tail += ways
    return McNemar(first_only, second_only, p_value=min(1.0, 2 * tail / 2**discordant))


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Difference:
    """Mean difference between two judges on the same n ≥ 1 pairs, with a percentile interval.

    Arguments are one value per pair and judge: `pair_credits` for the accuracy, −`log_sigmoid` of the
    margins for the log-loss. Equal ``seed``, equal answer.
    """
    within("resamples", resamples, 1, math.inf)
    gains = _paired_differences(first, second)
    means = _resampled_means(gains, np.random.default_rng(seed), resamples)
    outside = (1 - _level(level)) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return Difference(value=float(gains.mean()), low=float(low), high=float(high), n=gains.size)


def _resampled_means(values: FloatArray, rng: np.random.Generator, resamples: int) -> FloatArray:
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size <= _FEW:
        times = rng.multinomial(values.size, counts / values.size, size=resamples)
        return floats(times @ distinct / values.size)
    # Many resamples at once, but never so many that they need more than some megabytes.
    block = max(1, 2**20 // values.size)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    drawn = [values[rng.integers(values.size, size=(size, values.size))].mean(axis=1) for size in sizes]
    return floats(np.concatenate(drawn))


def _paired_differences(first: ArrayLike, second: ArrayLike) -> FloatArray:
    one, other = filled_vector("first", first), filled_vector("second", second)
    same_shape("second", other, one)
    return floats(one - other)


def _deviate(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + _level(level) / 2)


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise InvalidInput("level", f"is {level}", "choose a value between 0 and 1, for example 0.95")
    return level
