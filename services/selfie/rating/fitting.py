"""From embedded pairs to an evaluator, and to what it is worth on pairs that it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selfie.method.arrays import FloatArray
from selfie.method.bradley_terry import BradleyTerry, Comparisons, choose_ridge, fit
from selfie.method.statistics import Proportion, accuracy


@dataclass(frozen=True, eq=False)
class EmbeddedPairs:
    """n labelled pairs: embeddings [n, d] of both responses, lengths [n] in tokens, chosen less rejected."""

    chosen: FloatArray
    rejected: FloatArray
    lengths: FloatArray
    prompts: Sequence[str]

    @property
    def comparisons(self) -> Comparisons:
        return Comparisons(self.chosen - self.rejected, self.lengths, self.prompts)


def fit_evaluator(pairs: EmbeddedPairs) -> tuple[BradleyTerry, dict[str, float]]:
    """The evaluator, 0 being the mean of what it was fitted on, and the measures of its fit."""
    comparisons = pairs.comparisons
    chosen = choose_ridge(comparisons)
    model = fit(comparisons, ridge=chosen.ridge)
    measures = {
        "ridge": chosen.ridge,
        "cross_validated_accuracy": chosen.accuracy,
        "cross_validated_log_loss": chosen.log_loss,
        "length_weight": model.length_weight,
    }
    return model.centred(np.concatenate([pairs.chosen, pairs.rejected])), measures


def worth(model: BradleyTerry, heldout: EmbeddedPairs) -> dict[str, float]:
    """How often its ratings agree with people on held-out pairs, and how often the longer response does."""
    gaps = heldout.chosen - heldout.rejected
    return {
        **_interval("heldout_accuracy", accuracy(model.margins(gaps))),
        **_interval("heldout_longer", accuracy(heldout.lengths)),
    }


def _interval(name: str, share: Proportion) -> Mapping[str, float]:
    return {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
