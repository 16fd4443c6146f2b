"""Fixes what a run starts with, once, and finds it again."""

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from selfie.errors import AlreadyExists, FailedPrecondition
from selfie.kube.api import Api
from selfie.kube.frozen import Frozen, config_map_of, frozen_from
from selfie.kube.objects import CONFIG_MAP
from selfie.kube.pod_settings import PodSettings
from selfie.runs.names import frozen_name, run_path
from selfie.runs.resolving import resolved
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import InvalidRun
from selfie_operator.reconciling.locating import is_below, located, require_added_rounds, run_uri
from selfie_operator.reconciling.record import Record
from selfie_operator.reconciling.settings import ReconcilingSettings
from selfie_operator.reconciling.subject import Subject

OUTSIDE: Final = "OutsideOfRoots"
"""Reason of a `FailedPrecondition`: the run's artifacts lie where the release may not go."""

_REMEMBERED = 2048


class Freezer:
    """The ConfigMaps of runs: an immutable one is read once, and remembered by the run's UID."""

    def __init__(self, api: Api, settings: ReconcilingSettings, pods: PodSettings) -> None:
        self._api = api
        self._settings = settings
        self._pods = pods
        self._known: OrderedDict[str, Frozen] = OrderedDict()

    async def find(self, subject: Subject) -> Frozen | None:
        """What was fixed; None if nothing was yet.

        Raises `FailedPrecondition` ``NameTaken`` where the ConfigMap is somebody else's.
        """
        if subject.uid not in self._known:
            name = frozen_name(subject.name, subject.uid)
            found = await self._api.get(CONFIG_MAP, name, namespace=subject.namespace)
            if found is None:
                return None
            self._remember(subject, frozen_from(found, subject.uid))
        self._known.move_to_end(subject.uid)
        return self._known[subject.uid]

    async def freeze(self, record: Record, run: SelfieRun) -> Frozen:
        """Fixes it, unless that was done before; of two that do, the first decides."""
        if record.subject.uid in self._known:
            return self._known[record.subject.uid]
        await record.confirm()
        subject = record.subject
        frozen = self.frozen_of(subject, run)
        try:
            wanted = config_map_of(frozen, subject.found)
            made = await self._api.create(CONFIG_MAP, wanted, namespace=subject.namespace)
        except AlreadyExists:
            found = await self.find(subject)
            if found is None:
                raise
            return found
        self._remember(subject, frozen_from(made, subject.uid))
        return self._known[subject.uid]

    def frozen_of(self, subject: Subject, run: SelfieRun) -> Frozen:
        """What the run would start with now; ``run`` has absolute sources."""
        uri = run_uri(
            run,
            namespace=subject.namespace,
            uid=subject.uid,
            artifacts_root=self._settings.artifacts_root,
        )
        whole = run.model_copy(update={"spec": resolved(run.spec)})
        return Frozen(whole, uri, self._pods, self._settings.sources_root)

    def run_to_begin(self, subject: Subject) -> SelfieRun:
        """The run with absolute sources; raises `InvalidRun` with every mistake, and every wrong place."""
        settings = self._settings
        roots = settings.all_artifact_roots
        return located(
            subject.run(),
            sources_root=settings.sources_root,
            artifact_roots=roots,
            engines=self._pods.engines,
        )

    def run_begun(self, subject: Subject, frozen: Frozen) -> SelfieRun:
        """The run as it is carried out now, from what was fixed and what may change.

        Raises `InvalidRun`, unless it is to be suspended or cancelled: that is always understood.
        """
        try:
            present = subject.run()
            require_added_rounds(
                present,
                begun_with=len(frozen.run.spec.rounds),
                sources_root=frozen.sources_root,
                readable=(self._settings.sources_root, *self._settings.all_artifact_roots),
            )
        except InvalidRun:
            asked = {name: subject.asks(name) for name in ("suspend", "cancel")}
            if not any(asked.values()):
                raise
            spec = frozen.run.spec.model_copy(update=asked)
            return frozen.run.model_copy(update={"spec": spec})
        return frozen.of(present)

    def _remember(self, subject: Subject, frozen: Frozen) -> None:
        place = run_path(subject.namespace, subject.name, subject.uid)
        roots = self._settings.all_artifact_roots
        if not frozen.run_uri.endswith(f"/{place}") or not is_below(frozen.run_uri, roots):
            # It may have been made by anybody who may make ConfigMaps, and names the run as its owner.
            raise FailedPrecondition(
                OUTSIDE,
                f"the run keeps its artifacts at {frozen.run_uri}, which is outside what this release may "
                f"use ({', '.join(roots)}); add the folder to those that runs may name, or start a new run",
            )
        pods = self._pods.begun_with(frozen.pods)
        self._known[subject.uid] = replace(frozen, pods=pods)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
