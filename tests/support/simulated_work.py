"""An operator on a real API server, whose services are simulated: pods, Deployments and watches are real."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kube_double import Hooks
from memory_files import MemoryFiles
from release_doubles import PODS
from selfie.artifacts.store import Store
from selfie.kube.api import Api, Change, Listing
from selfie.kube.client import ClientSettings, connect
from selfie.kube.labels import child_labels, owner_reference
from selfie.kube.objects import (
    JOB,
    POD,
    SELFIE_RUN,
    SERVICE,
    Kind,
    Object,
    name_of,
    namespace_of,
    uid_of,
)
from selfie.kube.transport import Access
from selfie.runs.status import RunStatus
from selfie_operator.caches import Caches
from selfie_operator.keys import Check, Reconcile
from selfie_operator.process import operate
from selfie_operator.reconciling.building import assemble, now
from selfie_operator.reconciling.children import child_name
from selfie_operator.reconciling.fencing import FencedServices, fenced
from selfie_operator.reconciling.subject import status_of
from selfie_operator.recorders import Recorder
from selfie_operator.settings import OperatorSettings
from simulated_release import Killed
from simulated_services import SimulatedServices, is_ready

TICK_S = 0.2


class HookedApi:
    """An API whose writes call hooks around them."""

    def __init__(self, api: Api, hooks: Hooks) -> None:
        self._api = api
        self._hooks = hooks

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Object | None:
        return await self._api.get(kind, name, namespace=namespace)

    async def list(self, kind: Kind, **arguments: Any) -> Listing:
        return await self._api.list(kind, **arguments)

    def watch(self, kind: Kind, **arguments: Any) -> AsyncIterator[Change]:
        return self._api.watch(kind, **arguments)

    async def create(self, kind: Kind, wanted: Object, *, namespace: str | None = None) -> Object:
        self._hooks.before(f"create {kind.plural}")
        made = await self._api.create(kind, wanted, namespace=namespace)
        self._hooks.after(f"create {kind.plural}")
        return made

    async def replace(self, kind: Kind, wanted: Object, *, subresource: str | None = None) -> Object:
        self._hooks.before(f"replace {kind.plural}")
        made = await self._api.replace(kind, wanted, subresource=subresource)
        self._hooks.after(f"replace {kind.plural}")
        return made

    async def patch(self, kind: Kind, name: str, change: Object, **arguments: Any) -> Object:
        return await self._api.patch(kind, name, change, **arguments)

    async def delete(self, kind: Kind, name: str, *, uid: str, namespace: str | None = None) -> bool:
        self._hooks.before(f"delete {kind.plural}")
        gone = await self._api.delete(kind, name, uid=uid, namespace=namespace)
        self._hooks.after(f"delete {kind.plural}")
        return gone

    async def log(self, pod: str, **arguments: Any) -> str:
        return await self._api.log(pod, **arguments)


class RealSurroundings:
    """A namespace of a real cluster, and a store in memory."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.hooks = Hooks()
        self.files: dict[str, bytes] = {}
        self.services = SimulatedServices(self)
        self._api = api
        self._namespace = namespace
        self._rung: Counter[str] = Counter()

    def store(self, uri: str) -> Store:
        return Store(uri, MemoryFiles(self.files, uri, self.hooks))

    async def status(self, uid: str) -> RunStatus:
        listing = await self._api.list(SELFIE_RUN, namespace=self._namespace)
        return status_of(next(found for found in listing.items if uid_of(found) == uid))

    async def ring(self, uid: str) -> None:
        """Touches a Job of the run's, as a real one that ends would be touched."""
        runs = await self._api.list(SELFIE_RUN, namespace=self._namespace)
        run = next(found for found in runs.items if uid_of(found) == uid)
        name = f"bell-{name_of(run)}"
        if not self._rung[name]:
            await self._api.create(JOB, bell(name, run))
        self._rung[name] += 1
        note = {"metadata": {"annotations": {"rung": str(self._rung[name])}}}
        await self._api.patch(JOB, name, note, namespace=self._namespace)

    async def reached(self, service: str, uid: str) -> Object | None:
        found = await self._api.get(SERVICE, child_name(service, uid), namespace=self._namespace)
        if found is None:
            return None
        selector = found["spec"]["selector"]
        pods = await self._api.list(POD, namespace=self._namespace, labels=selector)
        return next((pod for pod in pods.items if is_ready(pod)), None)


def bell(name: str, run: Object) -> Object:
    """A Job that never runs."""
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {
            "name": name,
            "namespace": namespace_of(run),
            "labels": child_labels(run, "trainer"),
            "ownerReferences": [owner_reference(run)],
        },
        "spec": {"suspend": True, "template": pod},
    }


class WorkingOperator:
    """The operator's process within this one, started again whenever it is killed."""

    def __init__(self, kubeconfig: Path, namespace: str, surroundings: RealSurroundings) -> None:
        self.starts = 0
        self._surroundings = surroundings
        self._settings = OperatorSettings(
            kubeconfig=kubeconfig,
            namespace=namespace,
            port=0,
            api_qps=200,
            api_burst=200,
            lease_duration_seconds=3,
            lease_renew_seconds=2,
            lease_retry_seconds=0.2,
            artifacts_root="s3://bucket/runs",
        )

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.starts += 1
            try:
                await operate(self._settings, self._build)
            except* Killed:
                pass

    def _build(
        self, settings: OperatorSettings, api: Api, caches: Caches, recorder: Recorder, check: Check
    ) -> Reconcile:
        found = self._surroundings
        return assemble(
            settings,
            PODS,
            (HookedApi(api, found.hooks), caches, recorder),
            services=FencedServices(found.services, check),
            open_store=fenced(found.store, check),
            now=now,
        )


@asynccontextmanager
async def working(
    kubeconfig: Path, namespace: str
) -> AsyncIterator[tuple[RealSurroundings, WorkingOperator]]:
    """An operator and its services, at work."""
    access = ClientSettings(access=Access(kubeconfig=kubeconfig), per_second=500, burst=500)
    async with connect(access) as api:
        surroundings = RealSurroundings(api, namespace)
        operator = WorkingOperator(kubeconfig, namespace, surroundings)

        async def work() -> None:
            while True:
                await surroundings.services.tick()
                await asyncio.sleep(TICK_S)

        tasks = [asyncio.create_task(work()), asyncio.create_task(operator.run())]
        try:
            yield surroundings, operator
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
