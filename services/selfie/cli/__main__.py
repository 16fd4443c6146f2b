"""Commands, each a few lines over the packages below; what is slow to import is imported when used."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from selfie import __version__
from selfie.cli.arguments import (
    Artifacts,
    EngineAddress,
    EngineKeyFile,
    EngineModel,
    MetricsPort,
    Output,
    Place,
    RunFile,
    check_output,
)
from selfie.cli.artifacts import commands as artifact_commands
from selfie.cli.failures import told_to_people
from selfie.cli.ports import usual_ports
from selfie.cli.scoring import score
from selfie.errors import InvalidInput

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Aligns a language model with preference data that the model makes itself.",
)
app.add_typer(artifact_commands, name="artifacts")
app.command()(score)


@app.command()
def run(
    file: RunFile,
    artifacts: Artifacts = None,
    engine_address: EngineAddress = None,
    engine_model: EngineModel = "",
    engine_api_key_file: EngineKeyFile = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Take a run through all its rounds on this machine; the same command again goes on."""
    from selfie.cli.running import EngineOptions, run_file

    with told_to_people():
        options = EngineOptions(engine_address, engine_model, engine_api_key_file)
        raise typer.Exit(run_file(file, artifacts, cache_dir(), options, metrics_port))


@app.command()
def validate(file: RunFile) -> None:
    """Check a SelfieRun and say everything that is wrong with it."""
    from selfie.cli.places import load_file

    with told_to_people():
        loaded = load_file(file)
        Console().print(f"{file} is valid: {len(loaded.spec.rounds)} rounds, run {loaded.metadata.name!r}")


@app.command()
def plan(
    file: RunFile,
    artifacts: Artifacts = None,
    output: Output = "text",
    quick: Annotated[bool, typer.Option("--quick", help="Measure nothing; assume how fast it goes.")] = False,
) -> None:
    """Tell what a run will take: rows, tokens, time, memory, disk, GPU-hours, and on what assumptions."""
    from selfie.cli.places import load_file
    from selfie.cli.planning import WIDTH, print_plan
    from selfie.local.places import artifacts_uri
    from selfie.local.planning.gathering import plan_of
    from selfie.local.planning.machine import this_machine
    from selfie.local.planning.trying import try_here
    from selfie.runs.estimates.plans import object_of_plan

    with told_to_people():
        check_output(output)
        run = load_file(file)
        machine = this_machine(artifacts_uri(artifacts, run))
        found = plan_of(run, machine=machine, cache_root=cache_dir(), attempt=None if quick else try_here)
        if output == "json":
            sys.stdout.write(json.dumps(object_of_plan(found), indent=2) + "\n")
        else:
            print_plan(Console(highlight=False, width=WIDTH), found)


@app.command()
def status(place: Place, artifacts: Artifacts = None, output: Output = "text") -> None:
    """Tell how a run stands."""
    from selfie.artifacts.run_files import read_run, read_status
    from selfie.cli.places import find_store
    from selfie.cli.telling import print_status
    from selfie.runs.status import object_of_status

    with told_to_people():
        check_output(output)
        store = find_store(place, artifacts)
        found = read_run(store)
        if output == "json":
            sys.stdout.write(json.dumps(object_of_status(read_status(store)), indent=2) + "\n")
        else:
            print_status(Console(), found, read_status(store), store.uri)


@app.command()
def report(place: Place, artifacts: Artifacts = None) -> None:
    """Write the report of a run, finished or not, and print its path."""
    from selfie.artifacts.run_files import read_run, read_status
    from selfie.cli.places import find_store
    from selfie.cli.running import report_of

    with told_to_people():
        store = find_store(place, artifacts)
        sys.stdout.write(f"{report_of(store, read_run(store), read_status(store))}\n")


@app.command()
def compare(
    places: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, as `selfie status` takes them.")
    ],
    artifacts: Artifacts = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN[:ROUND]", help="What all is held against. Default: the first run's round 0."
        ),
    ] = None,
    output: Output = "text",
    html: Annotated[Path | None, typer.Option(help="Also write one HTML file.", dir_okay=False)] = None,
    details: Annotated[bool, typer.Option("--details", help="Print every table.")] = False,
) -> None:
    """Compare runs and rounds, pair by pair on the held-out pairs that they share."""
    from selfie.cli.comparing import compare_places, print_comparison, write_html, written

    with told_to_people():
        check_output(output)
        found = compare_places(places, baseline, artifacts)
        if html:
            write_html(found, html)
        if output == "json":
            sys.stdout.write(written(found))
            return
        print_comparison(found, details=details)
        if html:
            sys.stdout.write(f"{html}\n")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def serve(
    context: typer.Context,
    name: Annotated[str, typer.Argument()],
    run: Annotated[str | None, typer.Option(help="Scoring: a run whose best round judges.")] = None,
    number: Annotated[int | None, typer.Option("--round", help="Scoring: another round of it.")] = None,
    artifacts: Artifacts = None,
) -> None:
    """Start one service: engine, generation, scoring, filtering or training; NAME --help tells its flags."""
    services = ("engine", "generation", "scoring", "filtering", "training")
    weights: list[str] = []
    with told_to_people():
        if name not in services:
            raise InvalidInput("NAME", f"{name!r} is no service", f"use one of {', '.join(services)}")
        if run is not None:
            weights = _weights_of(name, run, number, artifacts)
    ports = usual_ports(context.args, os.environ) if name == "scoring" else []
    os.execv(sys.executable, [sys.executable, "-m", f"selfie.{name}", *weights, *ports, *context.args])


def _weights_of(name: str, run: str, number: int | None, artifacts: str | None) -> list[str]:
    from selfie.cli.places import find_store
    from selfie.cli.serving import scorer_arguments

    if name != "scoring":
        raise InvalidInput("--run", f"says nothing to {name}", "serve scoring with it")
    return scorer_arguments(find_store(run, artifacts), number, cache_dir())


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{__version__}\n")


def cache_dir() -> Path:
    """Directory for converted models: SELFIE_CACHE, else ~/.cache/selfie."""
    return Path(os.environ.get("SELFIE_CACHE") or "~/.cache/selfie").expanduser()


def main() -> None:
    """Entry point of the `selfie` command."""
    app()


if __name__ == "__main__":
    main()
