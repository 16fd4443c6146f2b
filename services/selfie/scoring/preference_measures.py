"""How the judge does on pairs that people labelled, beside the judges that cost nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfie.method.arrays import BoolArray, FloatArray
from selfie.method.statistics import accuracy, expected_calibration_error, log_loss
from selfie.method.subsets import chosen_is_shorter, in_gate_half, length_matched
from selfie.scoring.judged import Fields
from selfie.scoring.rewards import RewardRule, least_certain_two
from selfie.scoring.sample_measures import divergence_measure

Measures = dict[str, float]


class PreferenceTally:
    """Takes in pair after pair, with its two scored responses; keeps numbers only."""

    def __init__(self, rule: RewardRule) -> None:
        self._rule = rule
        self._rows: list[tuple[float, ...]] = []
        self._gate: list[bool] = []
        self._divergence: list[float] = []

    def add(self, scored: Sequence[Fields], pair: Fields) -> None:
        """One pair by PAIR_SCHEMA, chosen by people, and its two responses by SCORED_SCHEMA."""
        mean = self._rule.per_token
        mean_band = least_certain_two([mean.bound_by(row["error_bound"], row["tokens"]) for row in scored])
        errors = (row["error_bound"] for row in scored)
        self._rows.append((*(float(pair[name]) for name in _PAIR_COLUMNS), mean_band, *errors))
        self._gate.append(in_gate_half(pair["pair_id"]))
        self._divergence.extend(row["divergence"] for row in scored if row["divergence"] is not None)

    def counts(self) -> dict[str, int]:
        """``ties`` are pairs whose margin lies within the judge's error; ``tokens`` those of responses."""
        if not self._rows:
            return {"pairs": 0, "responses": 0, "ties": 0, "tokens": 0}
        columns = self._columns()
        ties = int((np.abs(columns["margin"]) <= columns["tie_band"]).sum())
        tokens = int(columns["chosen_tokens"].sum() + columns["rejected_tokens"].sum())
        pairs = len(self._rows)
        return {"pairs": pairs, "responses": 2 * pairs, "ties": ties, "tokens": tokens}

    def measures(self) -> Measures:
        """Accuracies from 0 to 1, a tie counting half, by judge and by subset; see the functions below."""
        if not self._rows:
            return {}
        columns = self._columns()
        return {
            **_judge_measures(columns),
            **_baseline_measures(columns),
            **_subset_measures(columns, np.array(self._gate)),
            **self._divergence_measure(columns),
        }

    def _columns(self) -> dict[str, FloatArray]:
        return dict(zip((*_PAIR_COLUMNS, *_BOUNDS), np.array(self._rows).T, strict=True))

    def _divergence_measure(self, columns: dict[str, FloatArray]) -> Measures:
        tokens = np.stack([columns["chosen_tokens"], columns["rejected_tokens"]], axis=1)
        return divergence_measure(self._divergence, tokens.astype(int).ravel().tolist())


_PAIR_COLUMNS = (
    "margin",
    "margin_mean",
    "tie_band",
    "chosen_tokens",
    "rejected_tokens",
    "chosen_reference_logprob",
    "rejected_reference_logprob",
)
_BOUNDS = ("mean_band", "chosen_error", "rejected_error")


def _judge_measures(columns: dict[str, FloatArray]) -> Measures:
    """The judge as the run has it, its calibration, and the same judge per token."""
    margins = columns["margin"]
    return {
        "n": len(margins),
        **_interval("accuracy", _outside_band(margins, columns["tie_band"])),
        **_interval("accuracy_mean", _outside_band(columns["margin_mean"], columns["mean_band"])),
        "ece": expected_calibration_error(margins),
        "log_loss": log_loss(margins),
        "mean_margin": float(margins.mean()),
    }


def _baseline_measures(columns: dict[str, FloatArray]) -> Measures:
    """Prefer the longer one; prefer the likelier one by the reference, per token or in all."""
    chosen, rejected = columns["chosen_tokens"], columns["rejected_tokens"]
    first, second = columns["chosen_reference_logprob"], columns["rejected_reference_logprob"]
    errors = columns["chosen_error"], columns["rejected_error"]
    summed = _outside_band(first - second, errors[0] + errors[1])
    bands = errors[0] / chosen + errors[1] / rejected
    per_token = _outside_band(first / chosen - second / rejected, bands)
    return {
        "accuracy_longer": accuracy(chosen - rejected).value,
        "accuracy_reference_sum": accuracy(summed).value,
        "accuracy_reference_mean": accuracy(per_token).value,
    }


def _subset_measures(columns: dict[str, FloatArray], gate: BoolArray) -> Measures:
    """The judge's accuracy on parts of the pairs, with the size of each; an empty part has no accuracy."""
    margins = _outside_band(columns["margin"], columns["tie_band"])
    lengths = columns["chosen_tokens"], columns["rejected_tokens"]
    parts: dict[str, Any] = {
        "gate": gate,
        "report": ~gate,
        "length_matched": length_matched(*lengths),
        "chosen_shorter": chosen_is_shorter(*lengths),
    }
    found: Measures = {}
    for name, part in parts.items():
        found[f"n_{name}"] = int(part.sum())
        if part.any():
            found[f"accuracy_{name}"] = accuracy(margins[part]).value
    return found


def _interval(name: str, margins: FloatArray) -> Measures:
    found = accuracy(margins)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _outside_band(margins: FloatArray, bands: FloatArray) -> FloatArray:
    """Margins with those inside their own band set to zero, which counts as a tie."""
    return np.where(np.abs(margins) <= bands, 0.0, margins)
