"""When a difference is called one: the exact test, after Holm's correction, and the interval must agree."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from selfie.method.judgements import Contrast
from selfie.method.statistics import Difference

SIGNIFICANT = 0.05

Verdict: TypeAlias = Literal["better", "worse", "no difference established", "too few seeds for a claim"]


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for being one of m, by Holm's step-down method (Scand. J. Statist. 6, 1979).

    Of all true null hypotheses, none has an adjusted p below 0.05 with a probability of at least 95 %,
    however the tests depend on each other.
    """
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return tuple(adjusted)


def verdict_of(found: Contrast, p_value: float) -> Verdict:
    """The first judge against the second, by accuracy; ``p_value`` is that of the exact test, adjusted.

    With few discordant pairs the bootstrap is surer of itself than the exact test, and where there
    are ties the two may point to different sides: then nothing is established.
    """
    more_often = found.mcnemar.first_only > found.mcnemar.second_only
    if more_often != (found.accuracy.value > 0.0):
        return "no difference established"
    return direction(found.accuracy, p_value)


def direction(interval: Difference, p_value: float) -> Verdict:
    """What a difference, of which more is better, and its p-value allow to be said."""
    if p_value >= SIGNIFICANT or interval.low <= 0.0 <= interval.high:
        return "no difference established"
    return "better" if interval.value > 0.0 else "worse"
