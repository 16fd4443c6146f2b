"""Puts together what looks after runs."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol

from selfie.artifacts.store import Store, open_store
from selfie.kube.api import Api
from selfie.kube.objects import Kind, Object
from selfie.kube.pod_settings import PodSettings
from selfie_operator.keys import Check, Key, Reconcile
from selfie_operator.reconciling.archives import Archives
from selfie_operator.reconciling.ending import Ending
from selfie_operator.reconciling.fencing import FencedServices, fenced
from selfie_operator.reconciling.freezing import Freezer
from selfie_operator.reconciling.observing import Observer
from selfie_operator.reconciling.reconciler import Reconciler
from selfie_operator.reconciling.record import Recorder
from selfie_operator.reconciling.services import GrpcServices, Services
from selfie_operator.reconciling.settings import ReconcilingSettings
from selfie_operator.reconciling.settling import Settling
from selfie_operator.reconciling.stepping import Stepping
from selfie_operator.run_metrics import BOARD


class Told(Protocol):
    """What the watches have told of runs and of their children."""

    @property
    def runs(self) -> Iterable[Object]:
        """All runs."""
        ...

    def run(self, key: Key) -> Object | None:
        """The run of this name."""
        ...

    def of_run(self, kind: Kind, run_uid: str) -> list[Object]:
        """The children of a kind that carry the run's UID as a label."""
        ...


def now() -> datetime:
    """The time in whole seconds, as in all times of Kubernetes."""
    return datetime.now(UTC).replace(microsecond=0)


def build(
    settings: ReconcilingSettings, api: Api, caches: Told, recorder: Recorder, check: Check
) -> Reconcile:
    """What looks after one run, for a release with these settings, and acts while ``check`` lets it."""
    return assemble(
        settings,
        PodSettings.read(settings.pods),
        (api, caches, recorder),
        services=FencedServices(GrpcServices.of(settings), check),
        open_store=fenced(open_store, check),
        now=now,
    )


def assemble(
    settings: ReconcilingSettings,
    pods: PodSettings,
    cluster: tuple[Api, Told, Recorder],
    *,
    services: Services,
    open_store: Callable[[str], Store],
    now: Callable[[], datetime],
) -> Reconcile:
    """The same from its parts; ``now`` gives whole seconds."""
    api, caches, recorder = cluster
    freezer = Freezer(api, settings, pods)
    observer = Observer(Archives(open_store, settings.all_artifact_roots), services, caches)
    settling = Settling(api, caches)
    return Reconciler(
        api=api,
        runs=caches,
        recorder=recorder,
        freezer=freezer,
        stepping=Stepping(observer, services, settling, now, BOARD),
        ending=Ending(freezer, observer, services, settling, caches, now),
        limit=settings.max_active_runs,
        now=now,
        board=BOARD,
    )
