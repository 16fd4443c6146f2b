"""A release per namespace on one control plane, with everything real but the work, and faults between.

Real are the API server with the chart's own Roles, the controllers, the operator's process and the
training controller; a fake node moves the pods, and `SimulatedWork` is what runs in them. Between an
operator and the API server is a `FaultProxy`; nobody else's requests go through it.
"""

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import structlog
import yaml

from charts import VALUES, Helm, Rendered, found_helm
from cluster.audit import Event, parsed
from cluster.fake_kubelet import FakeKubelet
from cluster.running import Cluster
from fault_proxy import FaultProxy
from fault_work import SimulatedWork
from operator_nursery import Nursery
from raw_api import RawApi, tls_context
from releases import install_accounts, install_crd, kubeconfig, made, server_of, token_of
from selfie.artifacts.store import Store, open_store
from selfie.errors import SelfieError
from selfie.kube.client import ClientSettings, KubeApi, connect
from selfie.kube.labels import NAME, RUN, RUN_UID
from selfie.kube.objects import (
    DEPLOYMENT,
    JOB,
    POD,
    SELFIE_RUN,
    SERVICE,
    Object,
    name_of,
    namespace_of,
    uid_of,
    version_of,
)
from selfie.kube.pod_settings import PodSettings
from selfie.kube.transport import Access
from selfie.rpc.entrances import Entrance
from selfie.rpc.server import build_server
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener
from selfie.runs.names import run_path
from selfie.runs.status import RunStatus
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.granting import Grants
from selfie.training.cluster.sweeping import Sweeper
from selfie.training.servicer import TrainingServicer
from selfie.v1 import training_pb2_grpc
from selfie_operator.reconciling.subject import status_of

T = TypeVar("T")

SPEC: dict[str, Any] = {
    "model": {"uri": "builtin://toy"},
    "seed": {"dataset": "data/seed.jsonl"},
    "rounds": [{"prompts": {"dataset": "data/prompts.jsonl", "count": 8}}] * 3,
    "evaluation": {"initial": False},
}
_CHILDREN = (DEPLOYMENT, SERVICE, POD, JOB)


@dataclass
class Chronicle:
    """What became of all runs: each status that the API server has told of, in order, by the run's UID."""

    latest: dict[tuple[str, str], Object] = field(default_factory=dict)
    history: dict[str, list[RunStatus]] = field(default_factory=dict)

    async def follow(self, api: KubeApi) -> None:
        while True:
            with suppress(SelfieError):
                listing = await api.list(SELFIE_RUN)
                listed = {(namespace_of(found), name_of(found)) for found in listing.items}
                self.latest = {key: found for key, found in self.latest.items() if key in listed}
                for found in listing.items:
                    self._take(found)
                version = listing.resource_version
                async for change in api.watch(SELFIE_RUN, resource_version=version):
                    if change.type == "DELETED":
                        self.latest.pop((namespace_of(change.object), name_of(change.object)), None)
                    elif change.type != "BOOKMARK":
                        self._take(change.object)
            await asyncio.sleep(0.2)

    def _take(self, found: Object) -> None:
        key = (namespace_of(found), name_of(found))
        known = self.latest.get(key)
        if known is None or version_of(known) != version_of(found):
            self.latest[key] = found
            self.history.setdefault(uid_of(found), []).append(status_of(found))


@dataclass
class AuditTail:
    """The audit log from where it was last read on, by namespace."""

    log: Path
    place: int = 0
    by_namespace: dict[str, list[Event]] = field(default_factory=dict)

    def of(self, namespace: str) -> list[Event]:
        with self.log.open("rb") as lines:
            lines.seek(self.place)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self.place += len(line)
                event = parsed(line)
                if event is not None:
                    self.by_namespace.setdefault(event.namespace, []).append(event)
        return self.by_namespace.get(namespace, [])


@dataclass
class OperatorProcess:
    """One operator, started again whenever it ends, as a kubelet does; ``pid`` 0 between two lives."""

    stage: "Stage"
    identity: str
    environment: dict[str, str]
    pid: int = 0
    exits: list[int] = field(default_factory=list)
    stays_down: bool = False

    def signal(self, signum: signal.Signals) -> None:
        if self.pid:
            self.stage.bench.nursery.signal(self.pid, signum)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    @property
    def log(self) -> Path:
        return self.stage.folder / f"{self.identity}.log"

    async def keep(self) -> None:
        nursery = self.stage.bench.nursery
        while True:
            if self.stays_down:
                await asyncio.sleep(0.05)
                continue
            self.pid = await nursery.start(self.environment, self.log)
            while (ended := await nursery.ended(self.pid)) is None:
                await asyncio.sleep(0.1)
            self.pid = 0
            self.exits.append(ended)


class Stage:
    """One namespace with a release in it, its proxy, and whatever operators a test starts."""

    def __init__(self, bench: "Bench", namespace: str, folder: Path, proxy: FaultProxy) -> None:
        self.bench, self.namespace, self.folder, self.proxy = bench, namespace, folder, proxy
        self.operators: list[OperatorProcess] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.began = asyncio.get_running_loop().time()

    @property
    def root(self) -> str:
        return self.bench.root

    def operate(
        self, identity: str = "a", *, proxy: FaultProxy | None = None, **settings: object
    ) -> OperatorProcess:
        """Starts an operator; ``settings`` are further ones, by their name in the environment."""
        folder, work = self.folder, self.bench.work
        way = folder / f"{identity}.kubeconfig"
        way.write_text(json.dumps(kubeconfig({"server": (proxy or self.proxy).url}, self.token)))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "SELFIE_KUBECONFIG": str(way),
            "SELFIE_NAMESPACE": self.namespace,
            "SELFIE_IDENTITY": identity,
            # A kubelet starts the next process in the pod of the last one.
            "SELFIE_POD_UID": f"pod-{identity}",
            "SELFIE_PORT": "0",
            "SELFIE_PORT_FILE": str(folder / f"{identity}.port"),
            "SELFIE_GENERATION_ADDRESS": work.shared,
            "SELFIE_FILTERING_ADDRESS": work.shared,
            "SELFIE_TRAINING_ADDRESS": f"unix:{self.socket}",
            "SELFIE_RUN_SERVICE_ADDRESS": work.of_run,
            "SELFIE_ARTIFACTS_ROOT": self.root,
            "SELFIE_PODS": str(self.bench.pods_file),
            "SELFIE_API_SECONDS": "10",
            **{f"SELFIE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        process = OperatorProcess(self, identity, environment)
        self.operators.append(process)
        self.tasks.append(asyncio.create_task(process.keep()))
        return process

    @property
    def socket(self) -> Path:
        # Short: the name of a socket has room for a hundred characters.
        return self.bench.sockets / f"{self.namespace}.sock"

    async def apply(self, name: str = "run", **spec: Any) -> Object:
        """Creates a run of three rounds."""
        wanted = {
            "apiVersion": SELFIE_RUN.api_version,
            "kind": SELFIE_RUN.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {**SPEC, **spec},
        }
        return await self.bench.api.create(SELFIE_RUN, wanted)

    async def change(self, change: Object, name: str = "run") -> None:
        await self.bench.api.patch(SELFIE_RUN, name, change, namespace=self.namespace)

    def run(self, name: str = "run") -> Object | None:
        return self.bench.chronicle.latest.get((self.namespace, name))

    def status(self, name: str = "run") -> RunStatus:
        found = self.run(name)
        return status_of(found) if found else RunStatus()

    def store(self, name: str = "run") -> Store:
        found = self.run(name)
        assert found is not None
        return open_store(f"{self.root}/{run_path(self.namespace, name, uid_of(found))}")

    async def until(self, holds: Callable[[], T], *, seconds: float = 180) -> T:
        """The first true answer; it is asked for ten times a second."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (answer := holds()):
            assert asyncio.get_running_loop().time() < deadline, self.standing()
            await asyncio.sleep(0.1)
        return answer

    async def come_to(self, step: str, name: str = "run", *, seconds: float = 180) -> None:
        """Waits until the run has come to the step; it may be over by then, so quickly does it go."""

        def seen() -> bool:
            found = self.run(name)
            told = self.bench.chronicle.history.get(uid_of(found), ()) if found else ()
            return any(status.step == step for status in told)

        await self.until(seen, seconds=seconds)

    async def ended(self, name: str = "run", *, seconds: float = 240) -> RunStatus:
        """The status of the run once it has ended and nothing of it is left but itself."""
        await self.until(lambda: self.status(name).is_terminal, seconds=seconds)
        await self.released(name)
        return self.status(name)

    async def released(self, name: str = "run", *, seconds: float = 90) -> float:
        """Waits until nothing holds resources for the run; returns how many seconds that took."""
        found = self.run(name)
        assert found is not None
        return await self.gone(uid_of(found), seconds=seconds)

    async def gone(self, uid: str, *, seconds: float = 90) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while left := await self._left(uid):
            assert loop.time() - began < seconds, f"left of {uid}: {left}; {self.standing()}"
            await asyncio.sleep(0.5)
        return loop.time() - began

    async def _left(self, uid: str) -> list[str]:
        try:
            return await self.children(uid)
        except SelfieError as error:
            return [str(error)]

    async def children(self, uid: str) -> list[str]:
        """What there is of the run's own objects; a Job that has ended is no longer one."""
        found = []
        for kind in _CHILDREN:
            listing = await self.bench.api.list(kind, namespace=self.namespace, labels={RUN_UID: uid})
            found += [f"{kind.plural}/{name_of(item)}" for item in listing.items if not _is_over(kind, item)]
        return found

    def standing(self) -> str:
        """What a person would look at first."""
        told = {
            name: found.get("status", {})
            for (space, name), found in self.bench.chronicle.latest.items()
            if space == self.namespace
        }
        logs = {
            entry.identity: entry.log.read_text()[-1500:] for entry in self.operators if entry.log.exists()
        }
        exits = {entry.identity: entry.exits for entry in self.operators}
        conditions = {
            name: [(c["type"], c["status"], c["reason"], c["message"]) for c in s.get("conditions", ())]
            for name, s in told.items()
        }
        return f"{self.namespace}: {conditions} exits {exits}\n{logs}"

    async def nudge(self) -> None:
        """Has the operator look again: the work here is done sooner than it looks by itself."""
        mark = {"metadata": {"annotations": {"at": str(asyncio.get_running_loop().time())}}}
        with suppress(SelfieError):
            await self.bench.api.patch(SERVICE, "nudge", mark, namespace=self.namespace)

    # Filled in by the bench.
    token: str = ""


class Bench:
    """What all namespaces share."""

    def __init__(self, cluster: Cluster, helm: Helm, folder: Path, sockets: Path) -> None:
        self.cluster, self.folder, self.sockets = cluster, folder, sockets
        self.rendered: Rendered = helm.rendered(VALUES["volume"])
        self.root = f"file://{folder}/artifacts"
        self.pods_file = folder / "pods.yaml"
        self.pods_file.write_text(yaml.safe_dump(self.rendered.run_pods()))
        self.audit = AuditTail(cluster.layout.audit_log)
        self.chronicle = Chronicle()
        self.stages: dict[str, Stage] = {}
        self._server = server_of(cluster)["server"]
        self._context = tls_context(server_of(cluster), {})
        self.api: KubeApi
        self.node: FakeKubelet
        self.nursery: Nursery
        self.work: SimulatedWork

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Bench"]:
        settings = ClientSettings(
            access=Access(kubeconfig=self.cluster.kubeconfig), per_second=2000, burst=2000
        )
        # Every call of the services would be a line.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        async with AsyncExitStack() as stack:
            stack.callback(structlog.reset_defaults)
            self.api = await stack.enter_async_context(connect(settings))
            self.work = SimulatedWork(self.sockets, self._service)
            self.work.told = self._published
            self._loop = asyncio.get_running_loop()
            await stack.enter_async_context(self.work.serving())
            self.node = FakeKubelet(self.cluster, run=self.work.program)
            await asyncio.to_thread(self.node.__enter__)
            stack.push_async_callback(asyncio.to_thread, self.node.__exit__, None, None, None)
            self.nursery = await stack.enter_async_context(Nursery.started())
            following = asyncio.create_task(self.chronicle.follow(self.api))
            stack.callback(following.cancel)
            yield self

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        """A namespace of its own; what is left in it goes with the cluster."""
        namespace = f"f-{secrets.token_hex(4)}"
        folder = self.folder / namespace
        folder.mkdir()
        proxy = FaultProxy(self._server, self._context)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(proxy.serving())
            stage = Stage(self, namespace, folder, proxy)
            await asyncio.to_thread(self._install, stage)
            await stack.enter_async_context(self._controller(stage))
            self.stages[namespace] = stage
            try:
                yield stage
            finally:
                for task in stage.tasks:
                    task.cancel()
                for process in stage.operators:
                    process.kill()
                del self.stages[namespace]

    def _install(self, stage: Stage) -> None:
        space = stage.namespace
        with RawApi(self.cluster.kubeconfig) as raw:
            install_accounts(raw, self.rendered, space)
            labels = {NAME: "selfie", RUN: "run"}
            nudge = {"metadata": {"name": "nudge", "labels": labels}, "spec": {"clusterIP": "None"}}
            made(raw, f"/api/v1/namespaces/{space}/services", nudge)
            stage.token = token_of(raw, space, "operator")
            direct = kubeconfig(server_of(self.cluster), token_of(raw, space, "training"))
        (stage.folder / "training.kubeconfig").write_text(json.dumps(direct))

    @asynccontextmanager
    async def _controller(self, stage: Stage) -> AsyncIterator[None]:
        access = Access(kubeconfig=stage.folder / "training.kubeconfig")
        async with connect(ClientSettings(access=access, agent="selfie-training")) as api:
            pods = PodSettings.read(self.pods_file).trainer
            jobs = ClusterJobs(
                api=api,
                grants=Grants(api, namespace=stage.namespace, pods=pods),
                open_store=store_opener((self.root,)),
            )
            sweeper = Sweeper(api, jobs, namespace=stage.namespace, keep_s=2, every_s=3)
            server = build_server(ServerSettings(), Entrance.of(ServerSettings()))
            training_pb2_grpc.add_TrainingServiceServicer_to_server(TrainingServicer(jobs), server)
            _healthy(server)
            server.add_insecure_port(f"unix:{stage.socket}")
            await server.start()
            sweeping = asyncio.create_task(sweeper.run())
            try:
                yield
            finally:
                sweeping.cancel()
                await server.stop(0.1)

    async def _service(self, name: str, namespace: str) -> Object | None:
        return await self.api.get(SERVICE, name, namespace=namespace)

    def _published(self, uid: str, step: str) -> None:
        self._loop.call_soon_threadsafe(self._nudge, uid)

    def _nudge(self, uid: str) -> None:
        for (namespace, _), found in self.chronicle.latest.items():
            if uid_of(found) == uid and namespace in self.stages:
                stage = self.stages[namespace]
                stage.tasks.append(asyncio.create_task(stage.nudge()))


@asynccontextmanager
async def opened(cluster: Cluster, folder: Path) -> AsyncIterator[Bench]:
    """A bench on this control plane; a test without helm is skipped."""
    install_crd(cluster)
    with TemporaryDirectory(prefix="sf") as sockets:
        async with Bench(cluster, found_helm(cluster.kubeconfig), folder, Path(sockets)).open() as bench:
            yield bench


def _healthy(server: Any) -> None:
    from grpc_health.v1 import health_pb2_grpc

    from fault_work import Health

    health_pb2_grpc.add_HealthServicer_to_server(Health(None), server)


def _is_over(kind: Any, found: Object) -> bool:
    if kind == JOB:
        conditions = (found.get("status") or {}).get("conditions") or ()
        return any(c["type"] in {"Complete", "Failed"} and c["status"] == "True" for c in conditions)
    return kind == POD and (found.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
