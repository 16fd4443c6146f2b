"""What a judge did on each labelled pair, and how two of them compare on the same pairs.

Chance, the preference for the longer response and a model's own likelihood are judges too, so that a
policy is held against them, pair by pair, as against another policy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfie.method.arrays import BoolArray, FloatArray, filled_vector, floats, same_shape
from selfie.method.logspace import log_sigmoid
from selfie.method.statistics import (
    Difference,
    McNemar,
    Proportion,
    expected_calibration_error,
    log_loss,
    mcnemar_exact,
    pair_credits,
    paired_bootstrap,
    wilson_interval,
)
from selfie.method.subsets import PartName

Parts = Mapping[PartName, BoolArray]


@dataclass(frozen=True, eq=False)
class Judgement:
    """One judge on n pairs: what each counts, and what it costs; both of shape [n].

    ``credits`` are 1 for a right judgement, ½ for a tie, else 0. ``losses`` are −log p of the choice
    that people made, in nats; None for a judge that gives no probability.
    """

    credits: FloatArray
    losses: FloatArray | None = None

    def at(self, places: NDArray[Any]) -> "Judgement":
        """The same judge on some of the pairs, by their places or by a mask."""
        return Judgement(self.credits[places], None if self.losses is None else self.losses[places])


@dataclass(frozen=True)
class JudgeFigures:
    """How one judge did. ``accuracy`` lacks the parts that have no pairs; the rest is over all pairs."""

    accuracy: Mapping[PartName, Proportion]
    log_loss: float
    calibration_error: float
    mean_margin: float


@dataclass(frozen=True)
class Contrast:
    """One judge against another on the same pairs, first less second; less log-loss is better."""

    accuracy: Difference
    mcnemar: McNemar
    log_loss: Difference | None


def judgement_of(margins: ArrayLike, tie_bands: ArrayLike) -> Judgement:
    """The judge whose rewards differ by ``margins``, in favour of people's choice; shape [n] both.

    A margin within its own band is a tie. The log-loss is that of the margin as it is.
    """
    values = filled_vector("margins", margins)
    return Judgement(preferring(values, tie_bands).credits, floats(-log_sigmoid(values)))


def preferring(gaps: ArrayLike, tie_bands: ArrayLike = 0.0) -> Judgement:
    """A judge that goes by some number of the responses, chosen less rejected, and knows no probability."""
    values, bands = filled_vector("gaps", gaps), floats(tie_bands)
    return Judgement(pair_credits(np.where(np.abs(values) <= bands, 0.0, values)))


def coin(n: int) -> Judgement:
    """Chance: half right on each of n pairs, so that a test against it counts right and wrong ones."""
    return Judgement(np.full(n, 0.5), np.full(n, math.log(2.0)))


def judge_figures(margins: ArrayLike, judgement: Judgement, parts: Parts) -> JudgeFigures:
    """The figures of one judge on all pairs and on their parts."""
    return JudgeFigures(
        accuracy={name: _share(judgement.credits[part]) for name, part in parts.items() if part.any()},
        log_loss=log_loss(margins),
        calibration_error=expected_calibration_error(margins),
        mean_margin=float(filled_vector("margins", margins).mean()),
    )


def contrast(first: Judgement, second: Judgement) -> Contrast:
    """Two judges on the same n ≥ 1 pairs, in one order."""
    log_losses = None
    if first.losses is not None and second.losses is not None:
        log_losses = paired_bootstrap(first.losses, second.losses, seed=0)
    return Contrast(
        accuracy=paired_bootstrap(first.credits, second.credits, seed=0),
        mcnemar=mcnemar_exact(first.credits, second.credits),
        log_loss=log_losses,
    )


def contrasts(first: Judgement, second: Judgement, parts: Parts) -> Mapping[PartName, Contrast]:
    """The same on each part that has pairs."""
    same_shape("second", second.credits, first.credits)
    return {name: contrast(first.at(part), second.at(part)) for name, part in parts.items() if part.any()}


def _share(credit: FloatArray) -> Proportion:
    return wilson_interval(float(credit.sum()), credit.size)
