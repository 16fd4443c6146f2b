"""Renders the report's tables: a row for each figure, a column for each round."""

from collections.abc import Sequence
from dataclasses import dataclass

from selfie.report.cells import NOTHING
from selfie.report.facts import RoundFacts, RunFacts
from selfie.report.rows import AUDIT, HELDOUT, RESPONSES, SELF_MADE, Row


@dataclass(frozen=True)
class Table:
    """A titled group of rows, rendered: cells in the order of the rounds."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]]


def _table(title: str, rows: Sequence[Row], rounds: Sequence[RoundFacts]) -> Table:
    rendered = [(row.label, row.explanation, [row.cell(facts) for facts in rounds]) for row in rows]
    told = [row for row in rendered if any(cell.strip(f"{NOTHING} ·→") for cell in row[2])]
    return Table(title, [facts.label for facts in rounds], told)


def tables_of(run: RunFacts) -> list[Table]:
    """Every table that has a figure to show."""
    later = [facts for facts in run.rounds if facts.number > 0]
    tables = [
        _table("The judge on held-out human pairs", HELDOUT, run.rounds),
        _table("Responses to prompts that no round trains on", RESPONSES, run.rounds),
        _table("The preferences that the model made itself", SELF_MADE, later),
        _table(f"Self-made labels against the evaluator ({run.evaluator})", AUDIT, later),
    ]
    return [table for table in tables if table.rows and table.columns]
