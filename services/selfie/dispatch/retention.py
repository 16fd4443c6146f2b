"""A run lets go of checkpoints while it goes on."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from selfie.artifacts.inventory import take_inventory
from selfie.artifacts.retention import forgotten_weights, removals, remove
from selfie.artifacts.store import Store
from selfie.runs.observed import Observed
from selfie.runs.retention import Dispensable, dispensable_of
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus

log = structlog.get_logger()


class Retention:
    """Looks whenever a step was published; what it cannot remove now it tries again at the next one.

    ``forget`` is told of the digests of weights that are gone, for whoever keeps copies of them.
    """

    def __init__(self, store: Store, forget: Callable[[Iterable[str]], None]) -> None:
        self._store = store
        self._forget = forget
        self._seen: frozenset[str] = frozenset()
        self._gone: set[Dispensable] = set()

    async def look(self, spec: RunSpec, status: RunStatus, observed: Observed) -> None:
        """Removes what may go by now; a failure is logged, because a run is worth more than space."""
        published = frozenset(observed.manifests)
        if not observed.store.ready or published == self._seen:
            return
        self._seen = published
        wanted = dispensable_of(spec, status, observed.manifests)
        if self._gone.issuperset(wanted):
            return
        try:
            await asyncio.to_thread(self._remove, wanted)
        except Exception as error:
            log.warning("checkpoints could not be removed", run=self._store.uri, error=str(error))
        else:
            self._gone.update(wanted)

    def _remove(self, wanted: tuple[Dispensable, ...]) -> None:
        inventory = take_inventory(self._store)
        found = removals(inventory, wanted)
        remove(self._store, inventory, found, datetime.now(UTC))
        self._forget(forgotten_weights(inventory, found))
