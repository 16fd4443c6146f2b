"""Lets go of checkpoints that a run no longer needs: the record first, then the files.

`selfie.runs.retention` says which may go. A published policy names the trainer's weights where they
lie, so a group goes once every group that shares a file with it goes too: no half of one is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from selfie.artifacts.inventory import Inventory
from selfie.artifacts.manifests import FileEntry
from selfie.artifacts.retirements import Retirement, record_retirement, retirement_path
from selfie.artifacts.store import Store
from selfie.artifacts.summaries import GROUPS_OF_WEIGHTS
from selfie.artifacts.weights import weights_digest
from selfie.runs.retention import Dispensable


@dataclass(frozen=True)
class Removal:
    """One group that goes; ``files`` are those that go with it, and ``present`` which are still there.

    ``recorded``: it was let go before, and its files are what a crash has left.
    """

    group: Dispensable
    files: tuple[FileEntry, ...]
    present: tuple[str, ...]
    recorded: bool


def removals(inventory: Inventory, wanted: Sequence[Dispensable]) -> tuple[Removal, ...]:
    """What is to be removed so that the ``wanted`` groups are gone, and what earlier removals have left.

    Raises `DataCorrupted` while a manifest can't be read: nobody knows which files it names.
    """
    inventory.require_readable()
    before = [Dispensable(step, record.group, record.reason) for step, record in inventory.retired.items()]
    # A step whose record is about an earlier manifest of it can have no other: its files stay.
    possible = [group for group in wanted if retirement_path(group.step) not in inventory.sizes]
    going = _without_what_others_need(inventory, before, possible)
    gone = {(group.step, group.group) for group in (*before, *going)}
    free = {path for path, names in inventory.names.items() if names <= gone}
    found: list[Removal] = []
    for group in (*before, *going):
        files = tuple(entry for entry in inventory.entries(group.step, group.group) if entry.path in free)
        free -= {entry.path for entry in files}
        present = tuple(entry.path for entry in files if entry.path in inventory.sizes)
        found.append(Removal(group, files, present, recorded=group in before))
    return tuple(removal for removal in found if removal.present or not removal.recorded)


def remove(store: Store, inventory: Inventory, found: Sequence[Removal], now: datetime) -> None:
    """Records of every group that it has gone, and only then deletes their files; can be repeated."""
    for removal in found:
        if not removal.recorded:
            record_retirement(store, _record(inventory, removal, now))
    for removal in found:
        for path in removal.present:
            store.delete(path)


def forgotten_weights(inventory: Inventory, found: Sequence[Removal]) -> frozenset[str]:
    """Digests of weights that only groups have which are gone or go now: no cache needs them."""
    gone = {(step, record.group) for step, record in inventory.retired.items()}
    gone |= {(removal.group.step, removal.group.group) for removal in found}
    digests = {
        (step, group): weights_digest(manifest.group(group))
        for step, manifest in inventory.manifests.items()
        for group in GROUPS_OF_WEIGHTS & {entry.group for entry in manifest.files}
    }
    kept = {digest for place, digest in digests.items() if place not in gone}
    return frozenset(digests.values()) - kept


def _record(inventory: Inventory, removal: Removal, now: datetime) -> Retirement:
    group = removal.group
    return Retirement(
        step=group.step,
        group=group.group,
        reason=group.reason,
        retired_at=now,
        bytes=sum(entry.bytes for entry in removal.files),
        files=tuple(entry.path for entry in inventory.entries(group.step, group.group)),
    )


def _without_what_others_need(
    inventory: Inventory, before: Sequence[Dispensable], wanted: Sequence[Dispensable]
) -> list[Dispensable]:
    """Those of the ``wanted`` groups that share no file with a group that stays."""
    going = list(wanted)
    while True:
        gone = {(group.step, group.group) for group in (*before, *going)}
        alone = [
            group
            for group in going
            if all(inventory.names[e.path] <= gone for e in inventory.entries(group.step, group.group))
        ]
        if len(alone) == len(going):
            return going
        going = alone
