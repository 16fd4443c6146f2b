"""`selfie run` and what it ends with."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from selfie.artifacts.store import Store
from selfie.cli.places import load_file
from selfie.local.display import RunDisplay
from selfie.local.places import LocalRun, artifacts_uri, directory_of, opened
from selfie.local.runner import run_here
from selfie.rpc.logs import configure
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, derived_message
from selfie.tracing.exporting import traced
from selfie.tracing.settings import TracingSettings

if TYPE_CHECKING:
    from selfie.local.external import EngineChoice

STOPPED, FAILED = 130, 1


@dataclass(frozen=True)
class EngineOptions:
    """What the command line says about an engine that is there already."""

    address: str | None = None
    model: str = ""
    key_file: Path | None = None


def run_file(
    file: Path,
    artifacts: str | None,
    cache_dir: Path,
    options: EngineOptions,
    metrics_port: int | None = None,
) -> int:
    """Runs the file's run to its end and returns the exit status; the last line is the report's path."""
    console = Console(highlight=False, soft_wrap=True)
    configure("selfie", "warning")
    run = load_file(file)
    engine = _engine(run, options)
    with (
        traced("selfie", TracingSettings.of_environment()),
        opened(run, artifacts_uri(artifacts, run)) as local,
    ):
        console.print(f"Run [bold]{run.metadata.name}[/] in {local.uri}")
        run_it = partial(run_here, model_cache=cache_dir, engine=engine, metrics_port=metrics_port)
        status = _finish(local, console, run_it)
        if not status.is_terminal:
            console.print(f"Stopped. The same command goes on from here: selfie run {file}")
            return STOPPED
        console.print(derived_message(status), markup=False)
        page = report_of(local.store, run, status)
        console.print(str(page), markup=False)
    return FAILED if _has_failed(status) else 0


def report_of(store: Store, run: SelfieRun, status: RunStatus) -> Path:
    """Writes the report beside the run, or in the current directory for a run in an object store."""
    from selfie.report.gather import gather
    from selfie.report.page import write_report

    root = directory_of(store)
    directory = root / "report" if root else Path(f"{run.metadata.name}-report").resolve()
    return write_report(gather(store, run, status), directory)


def _engine(run: SelfieRun, options: EngineOptions) -> "EngineChoice | None":
    if options.address is None and run.spec.generation.engine == "embedded":
        return None
    from selfie.local.external import engine_choice

    return engine_choice(run.spec, options.address, options.model, options.key_file)


def _finish(
    local: LocalRun, console: Console, run_it: Callable[..., Coroutine[Any, Any, RunStatus]]
) -> RunStatus:
    with RunDisplay(console) as display:
        return asyncio.run(run_it(local, watch=display.watch))


def _has_failed(status: RunStatus) -> bool:
    return any(entry.type == "Failed" and entry.status == "True" for entry in status.conditions)
