"""Responses side by side: who wins on the same prompts, as it is and at equal length."""

from collections.abc import Iterator, Sequence

from selfie.compare.judges import RunRound
from selfie.compare.runs import JudgedRound, JudgedRun
from selfie.compare.shape import WinEntry
from selfie.report.ratings import Rated, wins


def wins_of(runs: Sequence[JudgedRun], baseline: RunRound) -> tuple[WinEntry, ...]:
    """Every round's responses against the baseline's, and against its own run's seed and initial model.

    What was not rated by the same evaluator, or on other prompts, is absent.
    """
    entries = []
    for run in runs:
        for each in run.rounds:
            for against, others in _others(run, each, baseline):
                found = wins(each.responses, others)
                if found:
                    entries.append(WinEntry(run.name, each.number, against, found))
    return tuple(entries)


def _others(run: JudgedRun, each: JudgedRound, baseline: RunRound) -> Iterator[tuple[str, Rated]]:
    base, place = baseline
    if (run, each) != baseline and run.is_rated_as(base):
        yield "baseline", place.responses
    for name, rated in run.baselines.items():
        # A seed is not held against itself, nor twice against a baseline that is that very seed.
        if name != "seed" or (each.number > 0 and (run is not base or place.number > 0)):
            yield name, rated
