"""Finds runs: by their file, by their name, or by where they lie."""

from collections.abc import Collection
from pathlib import Path

from selfie.artifacts.inventory import Inventory, take_inventory
from selfie.artifacts.run_files import read_run
from selfie.artifacts.store import Store, open_store
from selfie.errors import InvalidInput
from selfie.local.places import DEFAULT_ARTIFACTS, artifacts_uri, with_absolute_sources
from selfie.runs.documents import MAX_CHARACTERS
from selfie.runs.load import parse_run
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import InvalidRun, Violation

_BYTES_OF_A_CHARACTER = 4
"""At most, in UTF-8."""


def load_file(file: Path) -> SelfieRun:
    """The SelfieRun in a file, with its relative data sets made absolute."""
    return with_absolute_sources(parse_run(_text_of(file)), file.resolve().parent)


def _text_of(file: Path) -> str:
    """The file's text, or as much of it as is already too long for a run."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_CHARACTERS * _BYTES_OF_A_CHARACTER + 1)
    except OSError as error:
        problem = f"{file} cannot be read: {error.strerror}"
        raise InvalidInput("FILE", problem, "give the path of a YAML file") from error
    if len(data) > MAX_CHARACTERS * _BYTES_OF_A_CHARACTER:
        # Where it was cut may be within a character.
        return data.decode("utf-8", errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidRun([Violation("the file", "is not UTF-8", "save it as UTF-8", line)]) from error


def find_store(place: str, artifacts: str | None) -> Store:
    """The store of a run that was named in any of the three ways."""
    if "://" in place:
        return open_store(place)
    path = Path(place)
    if path.is_file():
        run = load_file(path)
        return open_store(f"{artifacts_uri(artifacts, run)}/{run.metadata.name}")
    if (path / "run.yaml").is_file():
        return open_store(path.resolve().as_uri())
    folder = artifacts or str(DEFAULT_ARTIFACTS)
    folder = folder if "://" in folder else Path(folder).resolve().as_uri()
    return open_store(f"{folder}/{place}")


def inventory_of(store: Store) -> Inventory:
    """What the run has made so far; NotFound where there is no run."""
    inventory = take_inventory(store)
    if not inventory.sizes:
        read_run(store)
    return inventory


def published_steps(inventory: Inventory, chosen: Collection[str]) -> frozenset[str]:
    """The chosen steps that have a manifest, or all; `InvalidInput` for one that has none."""
    known = frozenset({*inventory.published, *inventory.unreadable})
    wanted = frozenset(step.rstrip("/") for step in chosen)
    for step in sorted(wanted - known):
        raise InvalidInput("STEP", f"{step!r} is not published", "`selfie artifacts ls` shows those that are")
    return wanted or known
