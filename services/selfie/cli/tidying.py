"""What `selfie artifacts gc` removes: what nothing names, and what the run's retention lets go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from selfie.artifacts.garbage import Garbage, delete, find_garbage
from selfie.artifacts.inventory import Inventory
from selfie.artifacts.retention import Removal, forgotten_weights, removals, remove
from selfie.artifacts.run_files import read_run, read_status
from selfie.artifacts.store import Store
from selfie.artifacts.summaries import summary
from selfie.errors import NotFound
from selfie.local.places import forget, scratch_of, weights_cache
from selfie.runs.retention import dispensable_of
from selfie.runs.spec import SelfieRun


@dataclass(frozen=True)
class Tidying:
    """Files that nothing names, groups that retention lets go, and weights that a cache still has of them."""

    garbage: tuple[Garbage, ...] = ()
    removals: tuple[Removal, ...] = ()
    cached: tuple[Path, ...] = ()
    remark: str = ""

    def files(self, inventory: Inventory) -> tuple[Garbage, ...]:
        """Every file that goes, with its bytes and the reason."""
        retired = (
            Garbage(path, inventory.sizes[path], f"retention: {removal.group.reason}")
            for removal in self.removals
            for path in removal.present
        )
        return (*self.garbage, *retired, *_in_cache(self.cached))


def plan_tidying(store: Store, inventory: Inventory, now: datetime) -> Tidying:
    """What may be removed now; without the run's specification nobody knows what it still needs."""
    garbage = find_garbage(store, inventory, now)
    try:
        run = read_run(store)
    except NotFound:
        return Tidying(garbage, remark=f"{store.uri} has no run.yaml: no checkpoint is let go")
    manifests = {step: summary(found, ref.sha256) for step, (found, ref) in inventory.published.items()}
    found = removals(inventory, dispensable_of(run.spec, read_status(store), manifests))
    return Tidying(garbage, found, _cached(store, run, forgotten_weights(inventory, found)))


def tidy(store: Store, inventory: Inventory, tidying: Tidying, now: datetime) -> None:
    """Removes it: what is let go is recorded first."""
    remove(store, inventory, tidying.removals, now)
    delete(store, tidying.garbage)
    for directory in tidying.cached:
        forget(directory.parent, [directory.name])


def _cached(store: Store, run: SelfieRun, digests: frozenset[str]) -> tuple[Path, ...]:
    cache = weights_cache(scratch_of(store, run))
    return tuple(cache / digest for digest in sorted(digests) if (cache / digest).is_dir())


def _in_cache(directories: tuple[Path, ...]) -> Iterator[Garbage]:
    for directory in directories:
        for file in sorted(path for path in directory.rglob("*") if path.is_file()):
            found = file.stat()
            # A link's bytes are those of the file in the store.
            size = found.st_size if found.st_nlink == 1 else 0
            yield Garbage(str(file), size, "cached for a checkpoint that goes")
