"""`selfie run` and what it ends with."""

import asyncio
from pathlib import Path

from rich.console import Console

from selfie.artifacts.store import Store
from selfie.cli.places import load_file
from selfie.local.display import RunDisplay
from selfie.local.places import LocalRun, artifacts_uri, directory_of, opened
from selfie.local.runner import run_here
from selfie.rpc.logs import configure
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, derived_message

STOPPED, FAILED = 130, 1


def run_file(file: Path, artifacts: str | None, cache_dir: Path) -> int:
    """Runs the file's run to its end and returns the exit status; the last line is the report's path."""
    console = Console(highlight=False, soft_wrap=True)
    configure("selfie", "warning")
    run = load_file(file)
    with opened(run, artifacts_uri(artifacts, run)) as local:
        console.print(f"Run [bold]{run.metadata.name}[/] in {local.uri}")
        status = _finish(local, console, cache_dir)
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


def _finish(local: LocalRun, console: Console, cache_dir: Path) -> RunStatus:
    with RunDisplay(console) as display:
        return asyncio.run(run_here(local, model_cache=cache_dir, watch=display.watch))


def _has_failed(status: RunStatus) -> bool:
    return any(entry.type == "Failed" and entry.status == "True" for entry in status.conditions)
