"""Holds the judge of one round against the seed's, pair by pair on the same held-out pairs."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from selfie.method.statistics import mcnemar_exact, pair_credits, paired_bootstrap, wilson_interval
from selfie.report.facts import Comparison, Floats

READINGS = ("summed", "length-normalised")
"""How rewards are read: over all tokens of a response, or per token."""


def credits_of(pairs: pa.Table | None) -> Mapping[str, Floats]:
    """By reading, 1 for each pair that is judged as people did, ½ for a tie, else 0; empty without pairs.

    Margins within the scorer's error are ties in the reading that the run goes by, for which the
    rows have the bound; in the other one only equal rewards are.
    """
    if pairs is None or not pairs.num_rows:
        return {}
    own = READINGS[1] if pairs["normalization"][0].as_py() == "mean" else READINGS[0]
    margins = {READINGS[0]: _summed(pairs), READINGS[1]: column(pairs, "margin_mean")}
    margins[own] = np.where(
        np.abs(column(pairs, "margin")) <= column(pairs, "tie_band"), 0.0, column(pairs, "margin")
    )
    return {reading: pair_credits(values) for reading, values in margins.items()}


def compare(mine: Mapping[str, Floats], seed: Mapping[str, Floats]) -> Sequence[Comparison]:
    """One comparison for each reading; none where either was not measured."""
    return tuple(
        Comparison(
            versus=f"seed, {reading}",
            difference=paired_bootstrap(mine[reading], seed[reading], seed=0),
            mcnemar=mcnemar_exact(mine[reading], seed[reading]),
        )
        for reading in READINGS
        if reading in mine and reading in seed
    )


def summed_accuracy(judged: Mapping[str, Floats]) -> Mapping[str, float]:
    """Accuracy of the summed judge with its 95 % interval, as measures; empty where there are no pairs."""
    found = judged.get(READINGS[0])
    if found is None:
        return {}
    share = wilson_interval(float(found.sum()), found.size)
    return {"accuracy_sum": share.value, "accuracy_sum_low": share.low, "accuracy_sum_high": share.high}


def column(table: pa.Table, name: str) -> Floats:
    """A column of numbers."""
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def _summed(pairs: pa.Table) -> Floats:
    if pairs["normalization"][0].as_py() != "mean":
        return column(pairs, "margin")
    chosen, rejected = (
        column(pairs, f"{side}_reward") * column(pairs, f"{side}_tokens") for side in ("chosen", "rejected")
    )
    return np.asarray(chosen - rejected, dtype=np.float64)
