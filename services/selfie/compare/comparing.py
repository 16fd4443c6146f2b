"""Compares runs: pure from here on, over what was read of them."""

from collections.abc import Sequence

from selfie.compare.generations import wins_of
from selfie.compare.judges import RunRound, contrasts_of, judges_of, labels_of
from selfie.compare.runs import JudgedRun
from selfie.compare.seeds import Groups, repeated, seeds_of
from selfie.compare.shape import (
    ComparedRuns,
    GroupEntry,
    MatchingEntry,
    Place,
    RunEntry,
)
from selfie.compare.specs import replicates, spec_differences
from selfie.errors import InvalidInput
from selfie.method.seeds import MIN_SEEDS

_NAMED = 3


def compare_runs(runs: Sequence[JudgedRun], baseline: JudgedRun, number: int = 0) -> ComparedRuns:
    """Everything that is said of the runs, of which ``baseline`` is one; its round is the one held against.

    `InvalidInput` where that round is not judged, or a run shares no held-out pair with it.
    """
    place = baseline.round(number)
    if place is None:
        there = ", ".join(str(each.number) for each in baseline.rounds)
        problem = f"{baseline.name} has not judged its held-out pairs after round {number}"
        raise InvalidInput("--baseline", problem, f"use a round that has: {there}")
    specs = {run.name: run.spec for run in runs}
    groups = _groups(runs)
    contrasts, matchings = contrasts_of(runs, (baseline, place))
    found = seeds_of(groups, (baseline, place))
    return ComparedRuns(
        baseline=Place(baseline.name, number),
        runs=tuple(_entry(run, groups) for run in runs),
        differences=spec_differences(specs),
        matchings=matchings,
        rounds=judges_of(runs),
        labels=labels_of(runs),
        contrasts=contrasts,
        wins=wins_of(runs, (baseline, place)),
        groups=found,
        remarks=(
            *_remarks(runs, (baseline, place), matchings),
            *_seeds(groups, found),
        ),
    )


def _groups(runs: Sequence[JudgedRun]) -> Groups:
    by_name = {run.name: run for run in runs}
    alike = replicates({run.name: run.spec for run in runs})
    return {f"{names[0]} + {len(names) - 1} more": [by_name[name] for name in names] for names in alike}


def _entry(run: JudgedRun, groups: Groups) -> RunEntry:
    return RunEntry(
        name=run.name,
        uri=run.uri,
        state=run.state,
        random_seed=run.spec.random_seed,
        group=next((name for name, members in groups.items() if run in members), None),
        best_round=run.best_round,
        rounds=len(run.spec.rounds),
        reading=run.rounds[0].heldout.own,
        beta=run.rounds[0].heldout.beta,
        evaluator=run.evaluator,
        agreement=run.agreement,
    )


def _remarks(runs: Sequence[JudgedRun], baseline: RunRound, matchings: Sequence[MatchingEntry]) -> list[str]:
    """What has to be known to read the figures rightly."""
    return [
        *(_unfinished(run) for run in runs if run.rounds[-1].number < len(run.spec.rounds)),
        *(_unmatched(each) for each in matchings if each.only_here or each.only_baseline or each.altered),
        *_scales(runs, baseline),
        *_evaluators(runs, baseline),
    ]


def _unfinished(run: JudgedRun) -> str:
    last = run.rounds[-1].number
    return f"{run.name} is compared as far as it is: up to round {last} of {len(run.spec.rounds)}."


def _unmatched(found: MatchingEntry) -> str:
    told = [
        f"{len(names)} {what} ({', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''})"
        for names, what in (
            (found.only_here, "only there"),
            (found.only_baseline, "only in the baseline"),
            (found.altered, "of other content under the same name"),
        )
        if names
    ]
    return (
        f"{found.matched} held-out pairs of {found.run} are matched with the baseline's; left out are "
        f"{', '.join(told)}."
    )


def _scales(runs: Sequence[JudgedRun], baseline: RunRound) -> list[str]:
    beta = baseline[1].heldout.beta
    others = [run.name for run in runs if run.rounds[0].heldout.beta != beta]
    if not others:
        return []
    return [f"{', '.join(others)}: rewards have another β, so log-losses differ in scale too."]


def _evaluators(runs: Sequence[JudgedRun], baseline: RunRound) -> list[str]:
    others = [run.name for run in runs if not run.is_rated_as(baseline[0])]
    if not others:
        return []
    return [f"{', '.join(others)}: another evaluator, so responses are not held against the baseline's."]


def _seeds(groups: Groups, entries: Sequence[GroupEntry]) -> list[str]:
    told = [
        f"{run} has the random seed or the weights of another run of its group, and counts once with it."
        for run in repeated(groups)
    ]
    if not any(len(entry.seeds) >= MIN_SEEDS for entry in entries):
        claim = f"a claim needs {MIN_SEEDS} random seeds or more"
        told.append(f"A verdict on one run is on its weights, not on the method: {claim}.")
    return told
