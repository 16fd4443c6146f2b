"""Holds one judge against another, pair by pair on the held-out pairs that both have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from selfie.method.judgements import Contrast, contrasts
from selfie.method.matching import Matching, match
from selfie.method.statistics import Difference, McNemar
from selfie.method.subsets import PARTS, PartName
from selfie.method.verdicts import Verdict, holm, verdict_of
from selfie.report.heldout import READINGS, HeldoutPairs, Reading


@dataclass(frozen=True)
class Comparison:
    """One judge against another in one reading: by part, and what it amounts to on all pairs.

    ``p_value`` is the exact test's, adjusted for all comparisons that it stands among.
    """

    versus: str
    reading: Reading
    parts: Mapping[PartName, Contrast]
    p_value: float

    @property
    def difference(self) -> Difference:
        """Of the accuracies on all pairs."""
        return self.parts["all"].accuracy

    @property
    def mcnemar(self) -> McNemar:
        """The exact test on all pairs, not adjusted."""
        return self.parts["all"].mcnemar

    @property
    def verdict(self) -> Verdict:
        """What all pairs allow to be said."""
        return verdict_of(self.parts["all"], self.p_value)


@dataclass(frozen=True, eq=False)
class PairedJudges:
    """Two judges: which pairs both have, and by reading the contrast on each part of these."""

    matching: Matching
    readings: Mapping[Reading, Mapping[PartName, Contrast]]


def pair_up(first: HeldoutPairs, second: HeldoutPairs) -> PairedJudges | None:
    """Two judges on the pairs that both have; None if there is no such pair.

    A pair is in a part if it is for both: their tokenizers may count its lengths differently.
    """
    found = match(first.contents, second.contents)
    if not found.first.size:
        return None
    parts = {name: first.parts[name][found.first] & second.parts[name][found.second] for name in PARTS}
    readings = {
        reading: contrasts(
            first.judgements[reading].at(found.first), second.judgements[reading].at(found.second), parts
        )
        for reading in READINGS
    }
    return PairedJudges(found, readings)


def compare(mine: HeldoutPairs | None, seed: HeldoutPairs | None) -> tuple[Comparison, ...]:
    """One comparison for each reading, p-values as they are; none where either was not measured."""
    paired = pair_up(mine, seed) if mine and seed else None
    if paired is None:
        return ()
    return tuple(
        Comparison(f"seed, {reading}", reading, parts, parts["all"].mcnemar.p_value)
        for reading, parts in paired.readings.items()
    )


def adjusted(rounds: Sequence[Sequence[Comparison]]) -> list[tuple[Comparison, ...]]:
    """The comparisons of all rounds with Holm's correction over all of them."""
    p_values = iter(holm([found.mcnemar.p_value for comparisons in rounds for found in comparisons]))
    return [tuple(replace(found, p_value=next(p_values)) for found in comparisons) for comparisons in rounds]
