"""Runs that differ in their random seed alone: each seed, and what they say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selfie.compare.judges import RunRound
from selfie.compare.runs import JudgedRound, JudgedRun
from selfie.compare.shape import GroupEntry, SeedEntry, SeedMean
from selfie.method.matching import match
from selfie.method.seeds import MIN_SEEDS, OverSeeds, over_seeds
from selfie.method.verdicts import SIGNIFICANT, Verdict, direction, holm
from selfie.report.heldout import READINGS, HeldoutPairs, Reading

Groups = Mapping[str, Sequence[JudgedRun]]

OWN = "each seed's own round {round}"
SAME_SEED = "round {round} of {group} with the same seed"
ONE_RUN = "round {round} of {run} alone: its own seed's chance is not in the interval"


@dataclass(frozen=True)
class _Row:
    """A round of a group in one reading, before its p-value is adjusted."""

    group: str
    round: int
    reading: Reading
    against: str
    seeds: tuple[SeedEntry, ...]
    accuracy: OverSeeds | None
    difference: OverSeeds | None


def seeds_of(groups: Groups, baseline: RunRound) -> tuple[GroupEntry, ...]:
    """Every round of every group. Equal weights, or an equal seed, count once: they are no second draw."""
    rows = [
        _row(name, number, reading, (groups, baseline))
        for name, runs in groups.items()
        for number in sorted({each.number for run in runs for each in run.rounds})
        for reading in READINGS
    ]
    # What can end in no claim is no test, and makes those that can no stricter.
    tested = {
        place: row.difference.p_value
        for place, row in enumerate(rows)
        if row.difference and row.difference.mean.n >= MIN_SEEDS
    }
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return tuple(_entry(row, adjusted.get(place)) for place, row in enumerate(rows))


def repeated(groups: Groups) -> tuple[str, ...]:
    """Runs that are left out of a round's mean, because another one with their seed or weights is in it."""
    left_out = {
        run.name: None
        for runs in groups.values()
        for number in {each.number for run in runs for each in run.rounds}
        for run in runs
        if run.round(number) and run not in [member for member, _ in _distinct(runs, number)]
    }
    return tuple(left_out)


def _row(name: str, number: int, reading: Reading, among: tuple[Groups, RunRound]) -> _Row:
    groups, baseline = among
    members = _distinct(groups[name], number)
    others, against = _against(name, number, groups, baseline)
    seeds = tuple(
        SeedEntry(
            run=run.name,
            random_seed=run.spec.random_seed,
            accuracy=float(each.heldout.judgements[reading].credits.mean()),
            difference=_difference(each.heldout, others.get(run.name), reading),
        )
        for run, each in members
    )
    gains = [seed.difference for seed in seeds if seed.difference is not None]
    return _Row(
        group=name,
        round=number,
        reading=reading,
        against=against,
        seeds=seeds,
        accuracy=over_seeds([seed.accuracy for seed in seeds]) if len(seeds) > 1 else None,
        difference=over_seeds(gains) if len(gains) > 1 else None,
    )


def _distinct(runs: Sequence[JudgedRun], number: int) -> list[RunRound]:
    found: list[RunRound] = []
    seen: set[object] = set()
    for run in runs:
        each = run.round(number)
        marks = {run.spec.random_seed, each.weights or run.uri} if each else set()
        if each and not marks & seen:
            found.append((run, each))
            seen |= marks
    return found


def _against(
    name: str, number: int, groups: Groups, baseline: RunRound
) -> tuple[Mapping[str, JudgedRound], str]:
    """By run's name, what it is held against; and how that is called. Nothing for the baseline itself."""
    base, place = baseline
    mine = groups[name]
    if base in mine:
        own = {run.name: each for run in mine if (each := run.round(place.number)) and number != place.number}
        return own, OWN.format(round=place.number) if own else ""
    theirs = next((each for each in groups.items() if base in each[1]), None)
    if theirs:
        group, runs = theirs
        by_seed = {run.spec.random_seed: run.round(place.number) for run in runs}
        same = {run.name: each for run in mine if (each := by_seed.get(run.spec.random_seed))}
        if len(same) > 1:
            return same, SAME_SEED.format(round=place.number, group=group)
    return {run.name: place for run in mine}, ONE_RUN.format(round=place.number, run=base.name)


def _difference(mine: HeldoutPairs, other: JudgedRound | None, reading: Reading) -> float | None:
    if other is None:
        return None
    found = match(mine.contents, other.heldout.contents)
    if not found.first.size:
        return None
    ours, theirs = mine.judgements[reading].credits, other.heldout.judgements[reading].credits
    return float(np.mean(ours[found.first] - theirs[found.second]))


def _entry(row: _Row, adjusted: float | None) -> GroupEntry:
    found = row.difference
    mean = None
    if row.accuracy:
        mean = SeedMean(
            accuracy=row.accuracy.mean,
            difference=found.mean if found else None,
            p_value=found.p_value if found else None,
            adjusted_p=adjusted,
            sign=found.sign if found else None,
        )
    verdict = _verdict(found, adjusted) if found else None
    return GroupEntry(row.group, row.round, row.reading, row.against, row.seeds, mean, verdict)


def _verdict(found: OverSeeds, adjusted: float | None) -> Verdict:
    """Student's interval, his p after Holm, and the sign test must agree.

    The sign test is not adjusted: six seeds cannot get it below 0.031, so that two tests would
    already forbid every claim.
    """
    if adjusted is None:
        return "too few seeds for a claim"
    more = found.sign.first_only > found.sign.second_only
    if found.sign.p_value >= SIGNIFICANT or more != (found.mean.value > 0.0):
        return "no difference established"
    return direction(found.mean, adjusted)
