"""A run's plan as tables, 100 columns wide."""

from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from selfie.runs.estimates.amounts import Work
from selfie.runs.estimates.estimating import StepEstimate
from selfie.runs.estimates.plans import HOLDING_GPUS, RunPlan
from selfie.runs.estimates.scenarios import NOTHING, Range

WIDTH = 100

TOLD_ROWS: Mapping[str, tuple[str, Callable[[Work], float]]] = {
    "prepare": ("rows", lambda work: work.pairs + work.prompts),
    "seed": ("pairs", lambda work: work.pairs),
    "generate": ("samples", lambda work: work.samples),
    "score": ("samples", lambda work: work.samples),
    "filter": ("pairs", lambda work: work.pairs),
    "train": ("pairs", lambda work: work.pairs),
    "evaluate-initial": ("samples", lambda work: work.samples),
    "evaluator": ("pairs", lambda work: work.pairs),
    "evaluate-samples": ("samples", lambda work: work.samples),
    "evaluate-heldout": ("pairs", lambda work: work.pairs),
    "evaluate-measures": ("samples", lambda work: work.samples),
    "evaluate-ratings": ("samples", lambda work: work.samples),
}
"""Which of a step's rows are told, and by what name."""

_Row = tuple[str, ...]


def print_plan(console: Console, plan: RunPlan) -> None:
    """Steps, totals, what was measured, assumptions and advice; every range is low to high."""
    console.print(
        f"[bold]{plan.name}[/]: likely figures (from the least to the most that they can be); tokens of "
        "prompts and of responses; memory of all that a step holds of engine, scorer and trainer"
    )
    console.print(_steps(plan))
    console.print(_totals(plan))
    if plan.findings:
        console.print(_findings(plan))
    for note in plan.notes:
        console.print(note, markup=False)
    console.print(_assumptions(plan))
    for entry in plan.advice:
        console.print(Text.assemble(("look again: ", "yellow"), str(entry)))


def _steps(plan: RunPlan) -> Table:
    table = _table("Steps")
    table.add_column("round", no_wrap=True)
    table.add_column("step", no_wrap=True)
    for name in ("rows", "prompt", "response", "memory, GB", "disk", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for first, last, rows in _alike(plan):
        rounds = str(first) if first == last else f"{first}–{last}"
        for index, row in enumerate(rows):
            table.add_row("" if index else rounds, *row)
    return table


def _alike(plan: RunPlan) -> Iterator[tuple[int, int, list[_Row]]]:
    """Rounds in a row whose lines would be the same, told once: the first, the last, their lines."""
    rounds: dict[int, list[_Row]] = {}
    for entry in plan.estimate.steps:
        rounds.setdefault(entry.step.round, []).append(_cells(entry))
    start = 0
    for number, rows in rounds.items():
        if rounds.get(number + 1) != rows:
            yield start, number, rows
            start = number + 1


def _cells(entry: StepEstimate) -> _Row:
    return (
        entry.step.name.replace("-", ": "),
        _rows(entry),
        _tokens(entry.over(lambda found: found.work.prompt_tokens)),
        _tokens(entry.over(lambda found: found.work.response_tokens)),
        _gigabytes(entry.over(lambda found: sum(found.memory.values()))),
        _bytes(entry.over(lambda found: found.disk).likely),
        _duration(entry.seconds),
    )


def _rows(entry: StepEstimate) -> str:
    told = TOLD_ROWS.get(entry.step.name)
    if told is None:
        return ""
    name, count = told
    return f"{_count(entry.over(lambda found: count(found.work)))} {name}"


def _totals(plan: RunPlan) -> Table:
    estimate, disk = plan.estimate, plan.estimate.disk
    table = _lines("In all")
    table.add_row("time", _duration(estimate.seconds))
    if plan.on_gpus:
        hours = {kind: plan.gpu_hours(kind) for kind in HOLDING_GPUS}
        table.add_row("GPU-hours", _span(sum(hours.values(), NOTHING), ".3g"))
        for kind, spent in hours.items():
            table.add_row(f"GPU-hours, {kind}", _span(spent, ".3g"))
    prompts = _tokens(estimate.total(lambda found: found.work.prompt_tokens))
    responses = _tokens(estimate.total(lambda found: found.work.response_tokens))
    table.add_row("tokens", f"{prompts} of prompts, {responses} of responses, over all steps")
    for kind in HOLDING_GPUS:
        peak = estimate.peak(lambda found, kind=kind: found.memory.get(kind, 0.0))  # type: ignore[misc]
        table.add_row(f"memory, {kind}", f"{_gigabytes(peak)} GB at most")
    whole = estimate.peak(lambda found: found.machine_memory)
    table.add_row("memory, one machine", f"{_gigabytes(whole)} GB at most, with the run's light processes")
    unfinished = estimate.peak(lambda found: found.unfinished_disk).high
    table.add_row(
        "disk",
        f"{_bytes(disk.whole)} with every checkpoint, {_bytes(disk.with_retention)} with retention"
        + (f"; while training up to {_bytes(unfinished)} more" if unfinished else ""),
    )
    return table


def _findings(plan: RunPlan) -> Table:
    table = _table("Measured here")
    for name in ("what", "measured", "so"):
        table.add_column(name)
    for finding in plan.findings:
        table.add_row(Text(finding.trial), Text(finding.measured), Text(finding.follows))
    return table


def _assumptions(plan: RunPlan) -> Table:
    table = _lines("Assumed")
    for entry in plan.assumptions:
        # As text, because a path may have brackets in it.
        table.add_row(entry.subject, Text(entry.statement))
    return table


def _lines(title: str) -> Table:
    table = _table(title)
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column()
    return table


def _table(title: str) -> Table:
    return Table(box=None, pad_edge=False, collapse_padding=True, title=f"\n{title}", title_justify="left")


def _span(found: Range, form: str, unit: str = "", *, per: float = 1.0) -> str:
    low, likely, high = (format(value / per, form) for value in (found.low, found.likely, found.high))
    return (likely if low == high else f"{likely} ({low}–{high})") + unit


def _duration(found: Range) -> str:
    for per, form, unit in ((1, ".0f", " s"), (60, ".0f", " min"), (3600, ".1f", " h")):
        if found.likely < 99.5 * per:
            return _span(found, form, unit, per=per)
    return _span(found, ".0f", " d", per=86400)


def _count(found: Range) -> str:
    is_long = found.low != found.high and found.high >= 1e3
    return _span(found, ".3g", " k", per=1e3) if is_long else _span(found, ",.0f")


def _gigabytes(found: Range) -> str:
    if not found.high:
        return ""
    return _span(found, ".1f" if found.high < 9.95e9 else ".0f", per=1e9)


def _tokens(found: Range) -> str:
    if not found.high:
        return ""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if found.likely >= 0.9995 * size:
            return f"{found.likely / size:.3g}{unit}"
    return f"{found.likely:.0f}"


def _bytes(value: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e3:.0f} kB" if value else ""
