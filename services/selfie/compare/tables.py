"""The comparison as tables, the same for a terminal and for a page: short ones first, then the folded."""

from collections.abc import Iterable, Sequence

from selfie.compare.seeds_table import over_seeds_table
from selfie.compare.shape import (
    ComparedRuns,
    ContrastEntry,
    FieldDifference,
    JudgedContrast,
    LabelsEntry,
    ReadingEntry,
    RoundEntry,
    RunEntry,
    WinEntry,
)
from selfie.compare.wording import place, points, share, signed, verdict
from selfie.method.subsets import PARTS, PartName
from selfie.report.agreements import Agreement
from selfie.report.cells import NOTHING, agreement, number, p_value, percent
from selfie.report.heldout import RIVALS, RivalName
from selfie.report.tables import Table

Line = tuple[str, str, Sequence[str]]

BEST = "★"
PART_NAMES: dict[PartName, str] = {
    "all": "all pairs",
    "report": "report half",
    "lengthMatched": "length-matched",
    "chosenShorter": "shorter chosen",
}
RIVAL_NAMES: dict[RivalName, str] = {
    "chance": "chance",
    "longer": "prefer the\nlonger",
    "referenceSum": "reference,\nsummed",
    "referenceMean": "reference,\nper token",
}
VERSUS = {"baseline": "the baseline", "seed": "its own seed", "initial": "its initial model"}


def tables_of(found: ComparedRuns) -> list[Table]:
    """Every table that has a row."""
    against = f"Against {place(found.baseline.run, found.baseline.round)}, on the same pairs"
    tables = [
        Table("What differs", ["values"], [_difference(each, len(found.runs)) for each in found.differences]),
        Table(
            "Accuracy on held-out pairs",
            [PART_NAMES[part] for part in PARTS],
            [_accuracy(entry, each) for entry, each in _by_reading(found.rounds)],
            note=f"{BEST} is the best round by the gate half of the pairs: quote its report half. "
            "A tie counts half; 95 % Wilson intervals.",
        ),
        Table(
            against,
            ["points", "right only\nhere : there", "exact p\nafter Holm", "log-loss", "verdict"],
            [_contrast(each) for each in found.contrasts],
            note=f"p-values by McNemar, and by Holm over these {len(found.contrasts)} comparisons. A verdict "
            "is one where the adjusted p is below 0.05 and the bootstrap interval leaves 0 out.",
        ),
        over_seeds_table(found.groups),
        _responses(found.wins, found.runs),
        _labels(found.labels),
        Table(
            "Calibration and behaviour",
            ["log-loss", "ECE", "mean margin", "KL per token", "tokens", "finished"],
            [_behaviour(entry, each) for entry, each in _by_reading(found.rounds)],
            note="Log-loss of a judge that knows nothing: 0.693. KL from the initial model, in nats.",
            folded=True,
        ),
        Table(
            f"{against}, by part",
            [PART_NAMES[part] for part in PARTS[1:]],
            [_parts(each) for each in found.contrasts],
            note="Points, right only here : only there, and the exact p after Holm over the column.",
            folded=True,
        ),
        Table(
            "Against judges that cost nothing",
            [RIVAL_NAMES[rival] for rival in RIVALS],
            [_rivals(entry, each) for entry, each in _by_reading(found.rounds)],
            note="Points on the same pairs and the exact p after Holm over the column.",
            folded=True,
        ),
    ]
    return [table for table in tables if table.rows]


def _by_reading(rounds: Iterable[RoundEntry]) -> Iterable[tuple[RoundEntry, ReadingEntry]]:
    return ((entry, each) for entry in rounds for each in entry.readings)


def _difference(found: FieldDifference, runs: int) -> Line:
    by_value: dict[str, list[str]] = {}
    for run, value in found.values.items():
        by_value.setdefault(str(value), []).append(run)
    told = [f"{value} ({', '.join(names)})" for value, names in by_value.items()]
    if len(found.values) < runs:
        told.append("else unset")
    return found.field, "", ["\n".join(told)]


def _label(entry: RoundEntry) -> str:
    return f"{place(entry.run, entry.round)}{f' {BEST}' if entry.is_best else ''}"


def _accuracy(entry: RoundEntry, each: ReadingEntry) -> Line:
    return _label(entry), each.reading, [share(each.accuracy.get(part)) for part in PARTS]


def _contrast(found: ContrastEntry) -> Line:
    whole = found.parts["all"]
    p_values = f"{p_value(whole.mcnemar.p_value)}\n{p_value(whole.adjusted_p)}"
    split = f"{whole.mcnemar.first_only} : {whole.mcnemar.second_only}\nof {whole.accuracy.n}"
    cells = [points(whole.accuracy), split, p_values, signed(whole.log_loss), verdict(whole.verdict)]
    return place(found.run, found.round), found.reading, cells


def _responses(wins: Sequence[WinEntry], runs: Sequence[RunEntry]) -> Table:
    return Table(
        "Responses to the same prompts, by the evaluator",
        ["wins", "at equal length"],
        [_win(each) for each in wins],
        note="A tie counts half. At equal length: the difference in length is taken out by logistic "
        f"regression; bootstrap interval over prompts.{_worth(runs)}",
    )


def _worth(runs: Sequence[RunEntry]) -> str:
    """What the evaluators are worth that were fitted, each with the runs that it rates."""
    names: dict[Agreement, list[str]] = {}
    for run in runs:
        if run.agreement:
            names.setdefault(run.agreement, []).append(run.name)
    return "".join(f" {', '.join(rated)}: {agreement(found)}." for found, rated in names.items())


def _win(found: WinEntry) -> Line:
    controlled = found.wins.controlled
    told = [share(controlled)] if controlled else []
    told += [found.wins.remark] if found.wins.remark else []
    cells = [share(found.wins.raw), "\n".join(told)]
    return place(found.run, found.round), f"against {VERSUS.get(found.against, found.against)}", cells


def _labels(labels: Sequence[LabelsEntry]) -> Table:
    return Table(
        "The labels that each round learned from",
        ["right, by\nthe evaluator", "for the\nlonger"],
        [(place(each.run, each.round), "", [share(each.right), share(each.longer)]) for each in labels],
        note="The evaluator saw none of them. Far from 50 % for the longer, length has a say.",
    )


def _behaviour(entry: RoundEntry, each: ReadingEntry) -> Line:
    figures = [
        number(each.log_loss, 3),
        number(each.calibration_error, 3),
        number(each.mean_margin, 3),
        number(entry.divergence, 4),
        number(entry.mean_tokens, 1),
        percent(entry.finished_share),
    ]
    return _label(entry), each.reading, figures


def _parts(found: ContrastEntry) -> Line:
    cells = [_on_part(found.parts.get(part)) for part in PARTS[1:]]
    return place(found.run, found.round), found.reading, cells


def _on_part(found: JudgedContrast | None) -> str:
    if found is None:
        return NOTHING
    test = found.mcnemar
    split = f"{test.first_only} : {test.second_only} of {found.accuracy.n}"
    return f"{points(found.accuracy)}\n{split}, {p_value(found.adjusted_p)}"


def _rivals(entry: RoundEntry, each: ReadingEntry) -> Line:
    cells = [
        f"{points(each.rivals[rival].accuracy)}\n{p_value(each.rivals[rival].adjusted_p)}" for rival in RIVALS
    ]
    return _label(entry), each.reading, cells
