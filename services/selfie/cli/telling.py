"""A run's status as text."""

from rich.console import Console
from rich.table import Table

from selfie.runs.spec import SelfieRun
from selfie.runs.status import RoundStatus, RunStatus, derived_message, derived_reason


def print_status(console: Console, run: SelfieRun, status: RunStatus, uri: str) -> None:
    """State, progress, and a row for each round."""
    console.print(
        f"[bold]{run.metadata.name}[/]  {derived_reason(status)}  {status.progress}", highlight=False
    )
    console.print(derived_message(status), markup=False, highlight=False)
    console.print(uri, markup=False, highlight=False, soft_wrap=True)
    if not status.rounds:
        return
    table = Table("round", "accuracy", "per token", "length", "KL", "finished", "noisy", "breaches")
    for entry in status.rounds:
        table.add_row(*_cells(entry))
    console.print(table)
    if status.best:
        console.print(f"best: round {status.best.round}, {status.best.step}", highlight=False)


def _cells(entry: RoundStatus) -> tuple[str, ...]:
    accuracy = entry.accuracy
    return (
        str(entry.round),
        _percent(accuracy.value if accuracy else None),
        _percent(accuracy.mean if accuracy else None),
        _number(entry.mean_length, 1),
        _number(entry.divergence, 4),
        _percent(entry.finished_share),
        _percent(entry.noisy_share),
        "; ".join(entry.breaches),
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
