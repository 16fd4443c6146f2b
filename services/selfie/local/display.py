"""A run on the terminal: one line for each step that is done, and a bar for the present one."""

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from selfie.runs.observed import ManifestSummary, Observed
from selfie.runs.status import RunStatus, derived_message
from selfie.runs.steps import ADOPT, PREPARE, step_at

Figures = Callable[[Mapping[str, float]], str]


def _tell(template: str, *names: str) -> Figures:
    return lambda found: (
        template.format(*(found[name] for name in names)) if found.keys() >= set(names) else ""
    )


TOLD: dict[str, Figures] = {
    "adopt": _tell("{:.0f} steps taken over, {:.0f} to be done", "steps", "left"),
    "prepare": _tell("{:.0f} seed pairs, {:.0f} held-out pairs", "seed", "heldout"),
    "seed": _tell("loss {:.3f} → {:.3f}, accuracy {:.0%}", "loss_first", "loss_last", "train_accuracy"),
    "train": _tell(
        "loss {:.3f} → {:.3f}, accuracy {:.0%}, {:.0f} pairs with z = 1",
        "loss_first",
        "loss_last",
        "train_accuracy",
        "z_ones",
    ),
    "generate": _tell(
        "{:.0f} responses, {:.0f} tokens each, {:.0%} finished", "samples", "mean_tokens", "finished_share"
    ),
    "score": _tell("{:.0f} pairs, median margin {:.3f}, {:.0f} ties", "pairs", "margin_q50", "ties"),
    "filter": _tell("{:.0f} pairs kept ({:.0%}), {:.0f} suspected", "kept", "kept_share", "noisy"),
    "evaluate-initial": _tell("{:.0f} responses, {:.0%} finished", "samples", "finished_share"),
    "evaluator": _tell(
        "accuracy {:.1%}, prefer the longer {:.1%}, of {:.0f} held-out pairs; fitted on {:.0f}",
        "heldout_accuracy",
        "heldout_longer",
        "heldout",
        "pairs",
    ),
    "evaluate-ratings": _tell("{:.0f} responses, mean rating {:+.3f}", "samples", "mean_rating"),
    "evaluate-samples": _tell("{:.0f} responses, {:.0%} finished", "samples", "finished_share"),
    "evaluate-heldout": _tell(
        "accuracy {:.1%}, {:.1%} length-normalised, of {:.0f} pairs", "accuracy", "accuracy_mean", "n"
    ),
    "evaluate-measures": _tell("{:.4f} nats a token from the initial model", "divergence"),
}
"""What is said of each step's figures, in one phrase."""


class RunDisplay:
    """Follows a run; lines alone where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: set[str] | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._shown = ""
        self._started = time.monotonic()

    def __enter__(self) -> "RunDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watch(self, status: RunStatus, observed: Observed) -> None:
        """Shows what has changed since the last look."""
        if self._seen is None:
            self._seen = set(observed.manifests)
            if self._seen:
                self._console.print(f"Going on after {len(self._seen)} steps that are done.")
        for path, manifest in observed.manifests.items():
            if path not in self._seen:
                self._seen.add(path)
                self._console.print(self._done_line(path, manifest), highlight=False)
        self._show_present(status, observed)

    def _done_line(self, path: str, manifest: ManifestSummary) -> str:
        seconds = manifest.seconds or 0
        clock = clock_of(time.monotonic() - self._started)
        return f"[dim]{clock}[/]  {_title(path):<34} [dim]{seconds:5.1f} s[/]  {told(path, manifest)}"

    def _show_present(self, status: RunStatus, observed: Observed) -> None:
        work = observed.work
        title = _title(status.step) if status.step else "…"
        total = work.total if work and work.total else None
        note = work.message if work and work.is_live and work.message else derived_message(status)
        if self._task is None or self._shown != title:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(title, total=total, note=note)
            self._shown = title
        done = work.done if work else 0
        self._progress.update(self._task, completed=done, total=total, note=note[:72])


def clock_of(seconds: float) -> str:
    """Time since the start as minutes and seconds, with hours once there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def told(path: str, manifest: ManifestSummary) -> str:
    """The step's figures in one phrase; empty where it has none to tell."""
    figures = {**manifest.counts, **manifest.measures}
    tell = TOLD.get(path.rpartition("/")[2])
    return tell(figures) if tell else ""


def _title(path: str) -> str:
    step = step_at(path)
    if step is None:
        return path
    name = step.name.replace("evaluate-", "evaluate: ")
    return name if step in (ADOPT, PREPARE) else f"round {step.round} · {name}"
