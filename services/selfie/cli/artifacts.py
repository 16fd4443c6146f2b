"""`selfie artifacts`: what a run has made, whether it is whole, how to get at it, and what may go."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from selfie.cli.arguments import Artifacts, Output, Place, check_output
from selfie.cli.failures import told_to_people

DAMAGED = 1

commands = typer.Typer(
    no_args_is_help=True, help="See, check, fetch and tidy what runs have made: ls, verify, pull, gc."
)

Steps = Annotated[
    list[str] | None, typer.Argument(help="Steps by their path, such as rounds/01/train. Default: all.")
]
Directory = Annotated[Path, typer.Argument(help="Where the checkpoint shall be: empty, or not there yet.")]
Round = Annotated[
    int | None, typer.Option("--round", min=0, help="The checkpoint that this round published.")
]
StepOption = Annotated[
    str | None, typer.Option("--step", help="The step whose manifest names the checkpoint.")
]
Group = Annotated[str | None, typer.Option("--group", help="Its group in that manifest; default checkpoint.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go, and why, and remove nothing.")]


@commands.command()
def ls(place: Place, artifacts: Artifacts = None, output: Output = "text") -> None:
    """List the steps that are published, attempts that are not, and what no manifest names."""
    from selfie.cli.holdings import lines_of, object_of_holdings
    from selfie.cli.places import find_store, inventory_of

    with told_to_people():
        check_output(output)
        store = find_store(place, artifacts)
        inventory, now = inventory_of(store), datetime.now(UTC)
        if output == "json":
            _write_json({"uri": store.uri, **object_of_holdings(inventory, now)})
        else:
            _write(store.uri, *lines_of(inventory, now))


@commands.command()
def verify(place: Place, steps: Steps = None, artifacts: Artifacts = None, output: Output = "text") -> None:
    """Read every file of a run again; exit with 1 if any is missing or altered."""
    from selfie.artifacts.checks import check
    from selfie.cli.holdings import lines_of_findings, object_of_findings
    from selfie.cli.places import find_store, inventory_of, published_steps

    with told_to_people():
        check_output(output)
        store = find_store(place, artifacts)
        inventory = inventory_of(store)
        chosen = published_steps(inventory, steps or ())
        findings = list(check(store, inventory, chosen))
        if output == "json":
            _write_json({"uri": store.uri, **object_of_findings(findings, chosen)})
        else:
            _write(*lines_of_findings(findings, chosen))
        if any(finding.kind == "damaged" for finding in findings):
            raise typer.Exit(DAMAGED)


@commands.command()
def pull(
    place: Place,
    directory: Directory,
    number: Round = None,
    step: StepOption = None,
    group: Group = None,
    artifacts: Artifacts = None,
) -> None:
    """Fetch a checkpoint, verified and whole or not at all: the best round's, or the last that there is."""
    from selfie.artifacts.weights import pull_into
    from selfie.cli.checkpoints import chosen_checkpoint
    from selfie.cli.places import find_store

    with told_to_people():
        store = find_store(place, artifacts)
        chosen = chosen_checkpoint(store, number=number, step=step, group=group)
        digest = pull_into(store, chosen.entries, directory)
        _write(f"{chosen.step} ({chosen.group}), digest {digest}", str(directory.resolve()))


@commands.command()
def gc(place: Place, artifacts: Artifacts = None, dry_run: DryRun = False) -> None:
    """Remove what nothing names, and what the run's retention lets go; safe beside a running run."""
    from selfie.cli.holdings import lines_of_garbage
    from selfie.cli.places import find_store, inventory_of
    from selfie.cli.tidying import plan_tidying, tidy

    with told_to_people():
        store, now = find_store(place, artifacts), datetime.now(UTC)
        inventory = inventory_of(store)
        tidying = plan_tidying(store, inventory, now)
        files = tidying.files(inventory)
        if not dry_run:
            tidy(store, inventory, tidying, now)
        _write(*lines_of_garbage(files, dry_run=dry_run), *filter(None, [tidying.remark]))


def _write(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _write_json(value: object) -> None:
    _write(json.dumps(value, indent=2))
