"""Files of a run that nothing names and nobody can come back for.

Only steps that are published are looked at: what lies in an attempt at any other may be gone on
with. An attempt that somebody seems to work on is left alone, whatever became of its step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, TypeAdapter

from selfie.artifacts.inventory import AttemptPlace, Inventory
from selfie.artifacts.programs import ERROR_FILE
from selfie.artifacts.progress import PROGRESS_FILE
from selfie.artifacts.store import Store
from selfie.errors import NotFound

LEASE = timedelta(hours=1)
"""How long after its last sign of life an attempt is left alone."""

_OPERATION_FILE, _JOB_FILE = "operation.json", "job.json"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_TIME = TypeAdapter(AwareDatetime)
_RECORD = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class Garbage:
    """A file that may be deleted, and why."""

    path: str
    bytes: int
    reason: str


def find_garbage(store: Store, inventory: Inventory, now: datetime) -> tuple[Garbage, ...]:
    """Files that no manifest names, in attempts at published steps that nobody works on any more.

    Of the attempt that has published its records stay, and of a lost one nothing does. Raises
    `DataCorrupted` while a manifest can't be read: nobody knows which files it names.
    """
    inventory.require_readable()
    found: list[Garbage] = []
    for place in inventory.attempts:
        manifest = inventory.manifests.get(place.step)
        if manifest is None or is_live(store, inventory, place, now):
            continue
        won = manifest.attempt == place.number
        why = "left over in the attempt that published" if won else f"attempt {manifest.attempt} published"
        paths = inventory.unnamed(place) if won else _all_unnamed(inventory, place)
        found.extend(Garbage(path, inventory.sizes[path], why) for path in paths)
    return tuple(found)


def delete(store: Store, garbage: tuple[Garbage, ...]) -> None:
    """Deletes the files, one by one."""
    for file in garbage:
        store.delete(file.path)


def is_live(store: Store, inventory: Inventory, place: AttemptPlace, now: datetime) -> bool:
    """Whether somebody may be at work: a sign of life within `LEASE`, and none of the end.

    An operation beats while it runs. A program has no heartbeat: its start and its progress count,
    until it leaves an error or its job is cancelled.
    """
    paths = inventory.attempts.get(place, ())
    try:
        operation, job, progress = (
            _read(store, f"{place.path}/{name}") if f"{place.path}/{name}" in paths else {}
            for name in (_OPERATION_FILE, _JOB_FILE, PROGRESS_FILE)
        )
        signs = [_time(operation, "heartbeatAt")] if operation.get("state") == "running" else []
        ended = job.get("state") == "cancelled" or f"{place.path}/{ERROR_FILE}" in paths
        if not ended:
            signs += [_time(job, "changedAt"), _time(progress, "updatedAt")]
    except ValueError:
        # A record that can't be read says nothing of its end.
        return True
    return any(now - sign < LEASE for sign in signs)


def _all_unnamed(inventory: Inventory, place: AttemptPlace) -> tuple[str, ...]:
    return tuple(path for path in inventory.attempts[place] if path not in inventory.names)


def _read(store: Store, path: str) -> Mapping[str, Any]:
    """The record as it is; `ValueError` for one that is none."""
    try:
        return _RECORD.validate_json(store.read(path))
    except NotFound:
        return {}


def _time(record: Mapping[str, Any], name: str) -> datetime:
    value = record.get(name)
    return _LONG_AGO if value is None else _TIME.validate_python(value)
