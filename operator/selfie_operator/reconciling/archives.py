"""Artifact stores of runs as the operator uses them: small records, never the data itself.

What is remembered of a run is what cannot change, such as manifests, or what would only be written
once more. A run that was long not looked at is forgotten.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from selfie.artifacts.published import PublishedSteps
from selfie.artifacts.run_files import identify, write_run, write_status
from selfie.artifacts.store import Store
from selfie.dispatch.retention import Retention
from selfie.errors import FailedPrecondition
from selfie.kube.frozen import NAME_TAKEN
from selfie.runs.observed import ManifestSummary, Observed
from selfie.runs.spec import RunSpec, SelfieRun
from selfie.runs.status import RunStatus

_REMEMBERED = 2048


def _forget_nothing(digests: Iterable[str]) -> None:
    """Weights are fetched into pods, which go with them."""


@dataclass
class Archive:
    """What lies below one run's root."""

    store: Store
    published: PublishedSteps
    retention: Retention
    _told: str = ""

    @classmethod
    def at(cls, store: Store) -> "Archive":
        """The run that lies there."""
        return cls(store, PublishedSteps(store), Retention(store, _forget_nothing))

    async def manifests(self, spec: RunSpec) -> Mapping[str, ManifestSummary]:
        """What is published so far."""
        return await asyncio.to_thread(self.published.look, spec)

    async def begin(self, run: SelfieRun, uid: str) -> None:
        """Says whose root this is, and what the run is to do; as often as one likes."""
        await asyncio.to_thread(self._begin, run, uid)

    async def tell(self, status: RunStatus) -> None:
        """Keeps how the run stands for all that read its root, unless it was kept before."""
        digest = hashlib.sha256(status.model_dump_json().encode()).hexdigest()
        if digest != self._told:
            await asyncio.to_thread(write_status, self.store, status)
            self._told = digest

    async def let_go(self, spec: RunSpec, status: RunStatus, observed: Observed) -> None:
        """Removes the checkpoints that retention lets go."""
        await self.retention.look(spec, status, observed)

    def _begin(self, run: SelfieRun, uid: str) -> None:
        found = identify(self.store, uid)
        if found != uid:
            raise FailedPrecondition(
                NAME_TAKEN, f"{self.store.uri} holds another run, with the UID {found}; rename the run"
            )
        write_run(self.store, run)


class Archives:
    """Those of the runs that were looked at last; each of the ``roots`` is opened once for all below it."""

    def __init__(self, open_store: Callable[[str], Store], roots: Sequence[str]) -> None:
        self._open_store = open_store
        self._roots = sorted((root.rstrip("/") for root in roots), key=len, reverse=True)
        self._opened: dict[str, Store] = {}
        self._known: OrderedDict[str, Archive] = OrderedDict()

    async def of(self, run_uri: str) -> Archive:
        """The run's.

        Raises `Unavailable` while its store can't be reached, and `FailedPrecondition` for a store
        that is not fit for runs.
        """
        if run_uri not in self._known:
            self._known[run_uri] = Archive.at(await self._store(run_uri))
        self._known.move_to_end(run_uri)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return self._known[run_uri]

    async def _store(self, run_uri: str) -> Store:
        root = next((root for root in self._roots if run_uri.startswith(f"{root}/")), None)
        if root is None:
            # It began when the release had other roots.
            return await asyncio.to_thread(self._fit_store, run_uri)
        if root not in self._opened:
            self._opened[root] = await asyncio.to_thread(self._fit_store, root)
        return self._opened[root].below(run_uri.removeprefix(f"{root}/"))

    def _fit_store(self, uri: str) -> Store:
        store = self._open_store(uri)
        # Two pods that publish the same step must not both succeed.
        store.probe_exclusive_create()
        return store
