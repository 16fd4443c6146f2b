"""Reads each round's measurements: which gates it crossed, and which round is the best so far.

Derived anew from the manifests at every look; a later round never changes an earlier verdict. A
bound whose measure is missing, or no number, counts as crossed: a collapsed model measures so.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic.alias_generators import to_camel

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
            *_beyond_a_limit(gates, measures),
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


def _beyond_a_limit(gates: Gates, measures: Mapping[str, float]) -> Iterator[str]:
    for limit in _LIMITS:
        bound, value = getattr(gates, limit.field), measures.get(limit.measure)
        if bound is None:
            continue
        name = to_camel(limit.field)
        if value is None:
            yield f"no {limit.measure.replace('_', ' ')} was measured, and {name} is given"
        elif (value - float(bound)) * limit.sign > _ROUNDING:
            yield f"{limit.message.format(value)} {name} {bound}"


@dataclass(frozen=True)
class _Limit:
    """A gate on one measure: ``sign`` is 1 for the largest value that is let pass, -1 for the smallest."""

    field: str
    measure: str
    sign: int
    message: str


_LIMITS = (
    _Limit("max_divergence", "divergence", 1, "divergence is {:.4f} nats a token, beyond"),
    _Limit("min_finished_share", "finished_share", -1, "only {:.3f} of responses end by themselves, below"),
    _Limit("max_duplicate_share", "duplicate_share", 1, "{:.3f} of responses repeat an earlier one, beyond"),
)
