"""How often one policy's responses beat another's on the same prompts, with length taken out.

Raw win rates reward length. As in length-controlled AlpacaEval (arXiv 2404.04475), a logistic
regression of the wins on the difference in length gives the rate at equal length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfie.method.arrays import FloatArray, filled_vector, floats, same_shape
from selfie.method.logspace import log_sigmoid, sigmoid
from selfie.method.statistics import Proportion, wilson_interval

MIN_PROMPTS = 8
"""Fewest prompts on which an effect of length is estimated."""

# Weight of the squared slope in the summed log-likelihood. It keeps the slope finite where length
# alone tells wins from losses; the intercept is free, so that no rate is drawn towards one half.
_RIDGE = 0.01
_MAX_STEPS, _HALVINGS, _CONVERGED = 60, 30, 1e-11
_CELLS = 2**20


@dataclass(frozen=True)
class WinRate:
    """The first policy's wins, a tie counting half, over n prompts: as they are, and at equal length.

    ``raw`` has Wilson's interval with n prompts, however many responses each has. ``controlled`` is
    None where length cannot be taken out, and ``remark`` says why. ``length_effect`` is the change
    of a win's log-odds by one standard deviation of the length difference.
    """

    raw: Proportion
    controlled: Proportion | None = None
    length_effect: float | None = None
    remark: str = ""


def win_rate(
    wins: ArrayLike, length_differences: ArrayLike, prompts: Sequence[str], *, resamples: int = 1000
) -> WinRate:
    """Win rate of n ≥ 1 comparisons: ``wins`` are 1, ½ or 0; lengths are the first's less the second's.

    ``prompts`` names the prompt of each comparison: every prompt counts once, and the interval is a
    95 % percentile bootstrap over prompts. Exchanging the two policies gives 1 − rate.
    """
    won = filled_vector("wins", wins)
    lengths = filled_vector("length_differences", length_differences)
    same_shape("length_differences", lengths, won)
    names, prompt_of = np.unique(np.asarray(prompts), return_inverse=True)
    weights = floats(1.0 / np.bincount(prompt_of)[prompt_of])
    raw = wilson_interval(min(float(won @ weights), names.size), names.size)
    if remark := _why_uncontrolled(won, lengths, names.size):
        return WinRate(raw, remark=remark)
    if not lengths.any():
        return WinRate(raw, raw, remark="all lengths are equal, so there was nothing to take out")
    scaled = floats(lengths / lengths.std())
    start = _fit(won, scaled, weights[np.newaxis], np.zeros((2, 1)))
    drawn = _resampled(won, scaled, prompt_of, (weights, start), resamples)
    low, high = np.quantile(drawn, [0.025, 0.975])
    rate = float(sigmoid(start[0, 0]))
    return WinRate(
        raw,
        Proportion(rate, min(float(low), rate), max(float(high), rate), names.size),
        float(start[1, 0]),
        "length alone tells wins from losses" if _is_separated(won, lengths) else "",
    )


def _why_uncontrolled(won: FloatArray, lengths: FloatArray, prompts: int) -> str:
    if prompts < MIN_PROMPTS:
        return f"fewer than {MIN_PROMPTS} prompts: too few to take length out"
    if (won == won[0]).all() and won[0] != 0.5:
        return f"every comparison was {'won' if won[0] else 'lost'}: length cannot be taken out"
    if lengths[0] != 0.0 and (lengths == lengths[0]).all():
        return "the lengths differ by the same everywhere: length cannot be taken out"
    return ""


def _is_separated(won: FloatArray, lengths: FloatArray) -> bool:
    up, down = lengths[won == 1.0], lengths[won == 0.0]
    if (won == 0.5).any() or not up.size or not down.size:
        return False
    return bool(up.min() > down.max() or up.max() < down.min())


def _resampled(
    won: FloatArray,
    scaled: FloatArray,
    prompt_of: NDArray[np.intp],
    fitted: tuple[FloatArray, FloatArray],
    resamples: int,
) -> FloatArray:
    """Controlled rates of so many draws of all prompts with replacement, shape [resamples]."""
    weights, start = fitted
    prompts = int(prompt_of.max()) + 1
    rng = np.random.default_rng(0)
    block = max(1, _CELLS // won.size)
    rates = []
    for first in range(0, resamples, block):
        size = min(block, resamples - first)
        times = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=size)
        drawn = floats(times[:, prompt_of] * weights)
        share = drawn @ won / prompts
        # Where a draw has wins or losses alone, its rate is that, and there is nothing to fit.
        mixed = (share > 1e-9) & (share < 1 - 1e-9)
        rate = share.copy()
        rate[mixed] = sigmoid(_fit(won, scaled, drawn[mixed], np.repeat(start, mixed.sum(), axis=1))[0])
        rates.append(rate)
    return np.concatenate(rates)


def _fit(won: FloatArray, scaled: FloatArray, weights: FloatArray, start: FloatArray) -> FloatArray:
    """Intercept and slope of B weighted regressions at once: ``weights`` is [B, n], the result [2, B].

    Newton's method on a concave function; a step that leads down is halved until it leads up.
    """
    found, height = start, _objective(start, won, scaled, weights)
    for _ in range(_MAX_STEPS):
        step = _newton_step(found, won, scaled, weights)
        if not step.size or np.abs(step).max() < _CONVERGED:
            break
        for _ in range(_HALVINGS):
            reached = _objective(found + step, won, scaled, weights)
            down = reached < height - 1e-12 * np.abs(height)
            if not down.any():
                break
            step = np.where(down, step / 2, step)
        found, height = found + step, reached
    return found


def _objective(found: FloatArray, won: FloatArray, scaled: FloatArray, weights: FloatArray) -> FloatArray:
    logits = found[0][:, np.newaxis] + found[1][:, np.newaxis] * scaled
    # w·z + log σ(−z) is w·log σ(z) + (1 − w)·log σ(−z).
    return floats((weights * (won * logits + log_sigmoid(-logits))).sum(axis=1) - _RIDGE / 2 * found[1] ** 2)


def _newton_step(found: FloatArray, won: FloatArray, scaled: FloatArray, weights: FloatArray) -> FloatArray:
    chance = sigmoid(found[0][:, np.newaxis] + found[1][:, np.newaxis] * scaled)
    missed, curve = weights * (won - chance), weights * chance * (1.0 - chance)
    up, along = missed.sum(axis=1), missed @ scaled - _RIDGE * found[1]
    aa, ab, bb = curve.sum(axis=1), curve @ scaled, curve @ scaled**2 + _RIDGE
    # Far out the curvature underflows; a floor keeps the step finite, and halving keeps it sound.
    size = np.maximum(aa * bb - ab**2, 1e-300)
    return floats(np.stack([(bb * up - ab * along) / size, (aa * along - ab * up) / size]))
