"""Reads each round's measurements: which gates it crossed, and which round is the best so far.

Derived anew from the manifests at every look; a later round never changes an earlier verdict. A
bound whose measure is missing, or no number, counts as crossed: a collapsed model measures so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfie.runs.evaluation_fields import Gates
from selfie.runs.observed import ManifestSummary
from selfie.runs.spec import RunSpec
from selfie.runs.steps import Step, evaluation_names

_ROUNDING = 1e-9


@dataclass(frozen=True)
class RoundEvaluation:
    """A round whose measurements are complete.

    ``accuracy`` is the one that chooses (a part of the held-out pairs of its own where there is
    one); ``best`` is the best round so far, this one included, and None while none qualifies.
    """

    round: int
    accuracy: float | None
    mean_tokens: float | None
    breaches: tuple[str, ...]
    best: int | None


def evaluations_of(spec: RunSpec, manifests: Mapping[str, ManifestSummary]) -> tuple[RoundEvaluation, ...]:
    """The rounds from 0 on whose policy is published and fully measured."""
    done: list[RoundEvaluation] = []
    needed = ("publish", "serve", *evaluation_names(spec))
    for number in range(len(spec.rounds) + 1):
        if any(Step(number, name).path not in manifests for name in needed):
            break
        done.append(_evaluate(spec.evaluation.gates, measures_of(number, manifests), done))
    return tuple(done)


def measures_of(number: int, manifests: Mapping[str, ManifestSummary]) -> dict[str, float]:
    """The finite measures of a round's evaluation, by name."""
    found: dict[str, float] = {}
    for name in ("evaluate-heldout", "evaluate-measures"):
        manifest = manifests.get(Step(number, name).path)
        found.update(finite(manifest.measures) if manifest else {})
    return found


def finite(measures: Mapping[str, float]) -> dict[str, float]:
    """The measures that are numbers: an average of nothing is none, and JSON has no word for it."""
    return {name: float(value) for name, value in measures.items() if math.isfinite(value)}


def gate_accuracy(measures: Mapping[str, float]) -> float | None:
    """The accuracy that gates and the best round go by."""
    return measures.get("accuracy_gate", measures.get("accuracy"))


def _evaluate(
    gates: Gates, measures: Mapping[str, float], before: Sequence[RoundEvaluation]
) -> RoundEvaluation:
    accuracy, tokens = gate_accuracy(measures), measures.get("mean_tokens")
    best = before[-1].best if before else None
    highest = before[best].accuracy if best is not None else None
    breaches = tuple(
        message
        for message in (
            _accuracy_fell(gates, accuracy, highest),
            _responses_grew(gates, tokens, before[0].mean_tokens if before else tokens),
            _policy_diverged(gates, measures.get("divergence")),
            _responses_do_not_finish(gates, measures.get("finished_share")),
            _responses_repeat(gates, measures.get("duplicate_share")),
        )
        if message
    )
    if not breaches and accuracy is not None and (highest is None or accuracy > highest):
        best = len(before)
    return RoundEvaluation(len(before), accuracy, tokens, breaches, best)


def _accuracy_fell(gates: Gates, accuracy: float | None, highest: float | None) -> str:
    if gates.max_accuracy_drop is None:
        return ""
    if accuracy is None:
        return "no accuracy was measured, and maxAccuracyDrop is given"
    if highest is None or highest - accuracy <= float(gates.max_accuracy_drop) + _ROUNDING:
        return ""
    bound = gates.max_accuracy_drop
    return f"accuracy fell from {highest:.3f} to {accuracy:.3f}, more than maxAccuracyDrop {bound}"


def _responses_grew(gates: Gates, tokens: float | None, at_first: float | None) -> str:
    if gates.max_length_ratio is None:
        return ""
    if tokens is None or at_first is None:
        return "no mean length was measured, and maxLengthRatio is given"
    if tokens <= at_first * float(gates.max_length_ratio) + _ROUNDING:
        return ""
    bound = gates.max_length_ratio
    return f"mean length grew from {at_first:.1f} to {tokens:.1f} tokens, beyond maxLengthRatio {bound}"


def _policy_diverged(gates: Gates, divergence: float | None) -> str:
    if gates.max_divergence is None:
        return ""
    if divergence is None:
        return "no divergence was measured, and maxDivergence is given"
    if divergence <= float(gates.max_divergence) + _ROUNDING:
        return ""
    return f"divergence is {divergence:.4f} nats a token, beyond maxDivergence {gates.max_divergence}"


def _responses_do_not_finish(gates: Gates, share: float | None) -> str:
    if gates.min_finished_share is None:
        return ""
    if share is None:
        return "no finished share was measured, and minFinishedShare is given"
    if share >= float(gates.min_finished_share) - _ROUNDING:
        return ""
    return (
        f"only {share:.3f} of responses end by themselves, below minFinishedShare {gates.min_finished_share}"
    )


def _responses_repeat(gates: Gates, share: float | None) -> str:
    if gates.max_duplicate_share is None:
        return ""
    if share is None:
        return "no duplicate share was measured, and maxDuplicateShare is given"
    if share <= float(gates.max_duplicate_share) + _ROUNDING:
        return ""
    bound = gates.max_duplicate_share
    return f"{share:.3f} of responses repeat an earlier one, beyond maxDuplicateShare {bound}"
