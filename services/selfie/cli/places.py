"""Finds runs: by their file, by their name, or by where they lie."""

from pathlib import Path

from selfie.artifacts.store import Store, open_store
from selfie.errors import InvalidInput
from selfie.local.places import DEFAULT_ARTIFACTS, artifacts_uri, with_absolute_sources
from selfie.runs.load import parse_run
from selfie.runs.spec import SelfieRun


def load_file(file: Path) -> SelfieRun:
    """The SelfieRun in a file, with its relative data sets made absolute."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "FILE", f"{file} cannot be read: {error}", "give the path of a YAML file"
        ) from error
    return with_absolute_sources(parse_run(text), file.resolve().parent)


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
