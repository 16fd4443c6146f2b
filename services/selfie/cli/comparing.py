"""`selfie compare`: finds the runs, and tells how they compare."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as TextTable
from rich.text import Text

from selfie.artifacts.run_files import read_run, read_status
from selfie.cli.places import find_store
from selfie.compare.comparing import compare_runs
from selfie.compare.runs import JudgedRun, read_judged_run, with_names_apart
from selfie.compare.shape import ComparedRuns, object_of
from selfie.compare.tables import tables_of
from selfie.report.heldout import READINGS
from selfie.report.tables import Table

WIDTH = 100
"""Columns of what is printed where there is no terminal to ask."""
NARROW = 18
"""Longest line of a cell that is broken nowhere but where it says so."""


def compare_places(places: Sequence[str], baseline: str | None, artifacts: str | None) -> ComparedRuns:
    """The runs at these places, against a round of one of them, or of another run: ``RUN[:ROUND]``."""
    name, number = parse_baseline(baseline) if baseline else (places[0], 0)
    found = [_read(place, artifacts) for place in places]
    base = find_store(name, artifacts).uri
    if base not in [run.uri for run in found]:
        found.insert(0, _read(name, artifacts))
    runs = with_names_apart(found)
    return compare_runs(runs, next(run for run in runs if run.uri == base), number)


def parse_baseline(text: str) -> tuple[str, int]:
    """The run and the round in ``RUN[:ROUND]``; round 0 where none is given. A URI has colons of its own."""
    run, colon, number = text.rpartition(":")
    if colon and run and number.isascii() and number.isdigit():
        return run, int(number)
    return text, 0


def written(found: ComparedRuns) -> str:
    """The comparison as JSON."""
    return json.dumps(object_of(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def print_comparison(found: ComparedRuns, *, details: bool) -> None:
    """Tables and remarks on the terminal; the folded tables only with ``details``."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    tables = tables_of(found)
    for table in tables:
        if details or not table.folded:
            _print_table(console, table)
    for remark in found.remarks:
        console.print(f"· {remark}", markup=False)
    if not details:
        console.print("--details shows parts, free judges and calibration; --html and -o json have all.")


def write_html(found: ComparedRuns, file: Path) -> None:
    """The comparison as one HTML file."""
    # matplotlib is slow to import, and only the page needs it.
    from selfie.compare.page import write_page

    write_page(found, file)


def _read(place: str, artifacts: str | None) -> JudgedRun:
    store = find_store(place, artifacts)
    return read_judged_run(store, read_run(store), read_status(store))


def _print_table(console: Console, table: Table) -> None:
    text = TextTable(
        box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title=table.title, title_justify="left"
    )
    text.title_style = "bold"
    # No label is cut: a reading's name is one long word.
    text.add_column("", min_width=max(map(len, READINGS)), overflow="fold")
    for place, column in enumerate(table.columns):
        lines = [line for _, _, cells in table.rows for line in cells[place].splitlines()]
        narrow = max(map(len, lines), default=0) <= NARROW
        text.add_column(column, overflow="fold", no_wrap=narrow)
    for label, explanation, cells in table.rows:
        name = Text.assemble(label, (f"\n{explanation}" if explanation else "", "dim"))
        text.add_row(name, *map(Text, cells))
    console.print(text)
    if table.note:
        console.print(Text(table.note, style="dim"))
    console.print()
