"""Renders the report's tables: a row for each figure, a column for each round."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from selfie.report.cells import NOTHING, agreement
from selfie.report.facts import RoundFacts, RunFacts
from selfie.report.heldout import READINGS
from selfie.report.judge_rows import HELDOUT, details
from selfie.report.rows import AUDIT, RESPONSES, SELF_MADE, Row


@dataclass(frozen=True)
class Table:
    """A titled group of rows, rendered: label, explanation, and cells in the order of the columns.

    ``note`` is what holds for all of it; a ``folded`` one is opened by who wants it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]]
    note: str = ""
    folded: bool = False


def tables_of(run: RunFacts) -> list[Table]:
    """Every table that has a figure to show, the short ones first."""
    later = [facts for facts in run.rounds if facts.number > 0]
    tables = [
        _table("The judge on held-out human pairs", HELDOUT, run.rounds),
        replace(
            _table("Responses to prompts that no round trains on", RESPONSES, run.rounds),
            note=f"Wins and ratings rest on this: {agreement(run.agreement)}." if run.agreement else "",
        ),
        _table("The preferences that the model made itself", SELF_MADE, later),
        _table(f"Self-made labels against the evaluator ({run.evaluator})", AUDIT, later),
        *(
            _table(f"The judge in detail, {reading}", details(reading), run.rounds, folded=True)
            for reading in READINGS
        ),
        _published(run.rounds),
    ]
    return [table for table in tables if table.rows and table.columns]


def _table(title: str, rows: Sequence[Row], rounds: Sequence[RoundFacts], *, folded: bool = False) -> Table:
    rendered = [(row.label, row.explanation, [row.cell(facts) for facts in rounds]) for row in rows]
    told = [row for row in rendered if any(cell.strip(f"{NOTHING} ·→") for cell in row[2])]
    return Table(title, [facts.label for facts in rounds], told, folded=folded)


def _published(rounds: Sequence[RoundFacts]) -> Table:
    """Every count and measure under the name that its manifest has for it."""
    names = {
        (step.name, figure): None
        for facts in rounds
        for step in facts.steps.values()
        for figure in (*step.counts, *step.measures)
    }
    rows = [
        (f"{step} · {name}", "", [_figure(facts, step, name) for facts in rounds]) for step, name in names
    ]
    return Table("Every published figure", [facts.label for facts in rounds], rows, folded=True)


def _figure(facts: RoundFacts, step: str, name: str) -> str:
    value = facts.measure(step, name)
    return NOTHING if value is None else f"{value:.6g}"
