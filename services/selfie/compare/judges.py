"""Judges side by side: each by itself, and all against the baseline's on the pairs that both have."""

from collections.abc import Sequence

from selfie.compare.families import judged_together
from selfie.compare.runs import JudgedRound, JudgedRun
from selfie.compare.shape import ContrastEntry, LabelsEntry, MatchingEntry, ReadingEntry, RoundEntry
from selfie.errors import InvalidInput
from selfie.report.comparisons import PairedJudges, pair_up
from selfie.report.heldout import READINGS, judge_facts

RunRound = tuple[JudgedRun, JudgedRound]


def judges_of(runs: Sequence[JudgedRun]) -> tuple[RoundEntry, ...]:
    """Every judged round's figures, and its contrasts with the judges that cost nothing."""
    places = [(run, each, judge_facts(each.heldout)) for run in runs for each in run.rounds]
    rivals = iter(judged_together([facts.rivals[reading] for _, _, facts in places for reading in READINGS]))
    entries = []
    for run, each, facts in places:
        readings = tuple(
            ReadingEntry(
                reading=reading,
                accuracy=facts.figures[reading].accuracy,
                log_loss=facts.figures[reading].log_loss,
                calibration_error=facts.figures[reading].calibration_error,
                mean_margin=facts.figures[reading].mean_margin,
                rivals=next(rivals),
            )
            for reading in READINGS
        )
        entries.append(
            RoundEntry(
                run=run.name,
                round=each.number,
                is_best=each.number == run.best_round,
                readings=readings,
                divergence=each.measures.get("divergence"),
                mean_tokens=each.measures.get("mean_tokens"),
                finished_share=each.measures.get("finished_share"),
            )
        )
    return tuple(entries)


def labels_of(runs: Sequence[JudgedRun]) -> tuple[LabelsEntry, ...]:
    """What the labels of every round's own pairs were; a round that learned from none is absent."""
    return tuple(
        LabelsEntry(run.name, each.number, each.labels_right, each.labels_longer)
        for run in runs
        for each in run.rounds
        if each.labels_longer
    )


def contrasts_of(
    runs: Sequence[JudgedRun], baseline: RunRound
) -> tuple[tuple[ContrastEntry, ...], tuple[MatchingEntry, ...]]:
    """Every other round against the baseline, in both readings; and for each run, which pairs were matched.

    `InvalidInput` for a run that has no pair in common with the baseline.
    """
    places = [(run, each) for run in runs for each in run.rounds if (run, each) != baseline]
    paired = [(run, each, _paired(run, each, baseline)) for run, each in places]
    rows = [(run, each, reading, found) for run, each, found in paired for reading in READINGS]
    judged = judged_together([found.readings[reading] for _, _, reading, found in rows])
    entries = tuple(
        ContrastEntry(run.name, each.number, reading, parts)
        for (run, each, reading, _), parts in zip(rows, judged, strict=True)
    )
    # All rounds of a run have the same pairs.
    matchings = {run.name: _matching(run, found) for run, _, found in paired}
    return entries, tuple(matchings.values())


def _paired(run: JudgedRun, each: JudgedRound, baseline: RunRound) -> PairedJudges:
    found = pair_up(each.heldout, baseline[1].heldout)
    if found is None:
        problem = f"{run.name} and {baseline[0].name} have no held-out pair in common"
        raise InvalidInput("RUN", problem, "compare runs with the same spec.seed.heldout")
    return found


def _matching(run: JudgedRun, found: PairedJudges) -> MatchingEntry:
    matching = found.matching
    return MatchingEntry(
        run=run.name,
        matched=int(matching.first.size),
        only_here=matching.only_first,
        only_baseline=matching.only_second,
        altered=matching.altered,
    )
