"""A run on this machine lets go of checkpoints while it goes on."""

import asyncio
import shutil
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

from selfie.artifacts.inventory import take_inventory
from selfie.artifacts.retention import forgotten_weights, removals, remove
from selfie.local.places import LocalRun, weights_cache
from selfie.runs.evaluations import evaluations_of
from selfie.runs.observed import ManifestSummary, Observed
from selfie.runs.retention import Dispensable, dispensable
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus

log = structlog.get_logger()


class Retention:
    """Looks whenever a step was published; what it cannot remove now it tries again at the next one."""

    def __init__(self, local: LocalRun) -> None:
        self._local = local
        self._seen: frozenset[str] = frozenset()
        self._gone: set[Dispensable] = set()

    async def look(self, status: RunStatus, observed: Observed) -> None:
        """Removes what may go by now; a failure is logged, because a run is worth more than space."""
        published = frozenset(observed.manifests)
        if not observed.store.ready or published == self._seen:
            return
        self._seen = published
        wanted = dispensable_of(self._local.run.spec, status, observed.manifests)
        if self._gone.issuperset(wanted):
            return
        try:
            await asyncio.to_thread(self._remove, wanted)
        except Exception as error:
            log.warning("checkpoints could not be removed", run=self._local.uri, error=str(error))
        else:
            self._gone.update(wanted)

    def _remove(self, wanted: tuple[Dispensable, ...]) -> None:
        inventory = take_inventory(self._local.store)
        found = removals(inventory, wanted)
        remove(self._local.store, inventory, found, datetime.now(UTC))
        forget(weights_cache(self._local.scratch), forgotten_weights(inventory, found))


def dispensable_of(
    spec: RunSpec, status: RunStatus, manifests: Mapping[str, ManifestSummary]
) -> tuple[Dispensable, ...]:
    """What may go by these manifests, and by the status that was written of them."""
    best = status.best.round if status.best else None
    evaluations = evaluations_of(spec, manifests)
    return dispensable(spec, manifests, evaluations, best=best, ended=status.is_terminal)


def forget(cache: Path, digests: Iterable[str]) -> None:
    """Removes weights from a cache of checkpoints; its links would keep their bytes on the disk.

    Each is renamed first, so that nobody finds half of one.
    """
    for digest in digests:
        going = cache / f".{digest}-{uuid.uuid4().hex}"
        try:
            (cache / digest).rename(going)
        except FileNotFoundError:
            continue
        shutil.rmtree(going)
