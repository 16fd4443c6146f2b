"""The work of a release without any computing: the services' protocol, and what runs in its pods.

Whatever is asked for is published at once, as a manifest that names exactly the inputs that a run's
lineage gives the step. What its files are said to hold follows from what its inputs hold and from
nothing else, so that two runs of the same specification publish the same digests. Weights are only
worked with where a pod serves them behind the run's Service, by its selector.
"""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health_pb2_grpc

from cluster.fake_pods import FakePod
from cluster.pod_statuses import Exit as PodExit
from fault_manifests import inputs_of, manifest_of
from fault_services import Batches, Engine, Health, Operations, Own, argument, service_of
from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import publish, read_published
from selfie.artifacts.operations import operation_name, parse_operation_name
from selfie.artifacts.programs import PARAMETERS_FILE
from selfie.artifacts.run_files import read_run
from selfie.artifacts.starts import begin, superseded
from selfie.artifacts.store import Store, open_store
from selfie.errors import NotFound
from selfie.kube.labels import COMPONENT, RUN_UID
from selfie.kube.objects import Object
from selfie.rpc.entrances import Entrance
from selfie.rpc.operation_messages import done_operation
from selfie.rpc.server import build_server
from selfie.rpc.settings import ServerSettings
from selfie.runs.names import engine_name, scoring_name
from selfie.runs.steps import ENGINE, GENERATION, SCORING, step_at
from selfie.v1 import engine_pb2_grpc, filtering_pb2_grpc, generation_pb2_grpc, scoring_pb2_grpc

SETTINGS = ServerSettings()
INDEX = "batch.kubernetes.io/job-completion-index"

Find = Callable[[str, str], Awaitable[Object | None]]
"""The Service of a name, in a namespace, as it is now."""


@dataclass
class Ledger:
    """What was done for all runs, by (run's UID, step, attempt); ``wrong`` is what must never be."""

    begun: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    published: Counter[tuple[str, str]] = field(default_factory=Counter)
    training: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class SimulatedWork:
    """All services of a release and all programs of its pods, for any number of namespaces.

    ``behave`` decides what a training pod does first, and may end it by returning an exit; ``told``
    is told of each published step.
    """

    def __init__(self, folder: Path, find: Find) -> None:
        self.folder = folder
        self.ledger = Ledger()
        self.behave: Callable[[FakePod], Awaitable[PodExit | None]] = _nothing
        self.told: Callable[[str, str], None] = lambda uid, step: None
        self.slow_s = 0.02
        self.hangs: set[str] = set()
        """UIDs of runs whose scoring workers take calls and never answer."""
        self._find = find
        self._pods: dict[str, dict[str, FakePod]] = {}
        """Of each service by its name, the pods that work, by their UID."""
        self._known: dict[tuple[str, str, int], dict[str, str]] = {}
        self._servers: dict[str, grpc.aio.Server] = {}
        self._lock = threading.Lock()

    # Addresses, as the operator's settings have them.

    @property
    def shared(self) -> str:
        return f"unix:{self.folder}/shared.sock"

    @property
    def of_run(self) -> str:
        return f"unix:{self.folder}/{{name}}.sock"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["SimulatedWork"]:
        self._loop = asyncio.get_running_loop()
        await self._open("shared", None)
        try:
            yield self
        finally:
            await asyncio.gather(*(server.stop(0.1) for server in self._servers.values()))

    async def _open(self, name: str, own: "Own | None") -> None:
        server = build_server(SETTINGS, Entrance.of(SETTINGS))
        if own is None:
            generation_pb2_grpc.add_GenerationServiceServicer_to_server(Batches(self, None), server)
            filtering_pb2_grpc.add_FilteringServiceServicer_to_server(Batches(self, None), server)
        else:
            scoring_pb2_grpc.add_ScoringServiceServicer_to_server(Batches(self, own), server)
            engine_pb2_grpc.add_EngineServiceServicer_to_server(Engine(own), server)
        operations_pb2_grpc.add_OperationsServicer_to_server(Operations(self), server)
        health_pb2_grpc.add_HealthServicer_to_server(Health(own), server)
        server.add_insecure_port(f"unix:{self.folder}/{name}.sock")
        self._servers[name] = server
        await server.start()

    async def _opened(self, pod: FakePod) -> None:
        name = service_of(pod)
        if name not in self._servers:
            await self._open(name, Own(self, pod.namespace, name))

    async def program(self, pod: FakePod) -> PodExit:
        """What the container of any pod of a release does."""
        if pod.labels.get(COMPONENT) in (ENGINE, SCORING):
            return await self._serve(pod)
        return await self._train(pod)

    async def reached(self, namespace: str, service: str) -> FakePod | None:
        """A pod that is there behind the Service."""
        found = await self._find(service, namespace)
        if found is None:
            return None
        selector = (found["spec"].get("selector") or {}).items()
        pods = list(self._pods.get(service, {}).values())
        return next((pod for pod in pods if selector <= pod.labels.items()), None)

    async def _serve(self, pod: FakePod) -> PodExit:
        uid = pod.object["metadata"]["uid"]
        opening = asyncio.run_coroutine_threadsafe(self._opened(pod), self._loop)
        await asyncio.wrap_future(opening)
        working = self._pods.setdefault(service_of(pod), {})
        working[uid] = pod
        try:
            await pod.stopping.wait()
        finally:
            working.pop(uid, None)
        return PodExit(0)

    async def _train(self, pod: FakePod) -> PodExit:
        told = dict(zip(pod.arguments[1:], pod.arguments[2:], strict=False))
        store, step = open_store(told["--run-uri"]), told["--step"]
        attempt, pod_uid, uid = int(told["--attempt"]), pod.object["metadata"]["uid"], pod.labels[RUN_UID]
        digest = hashlib.sha256(store.read(f"{step}/a{attempt}/{PARAMETERS_FILE}")).hexdigest()
        if digest != told["--parameters-sha256"]:
            self.ledger.wrong.append(
                f"{step} a{attempt} of {uid}: other parameters than the Job was made for"
            )
        if read_published(store, step) is not None:
            return PodExit(Exit.DONE)
        if pod.object["metadata"].get("annotations", {}).get(INDEX, "0") != "0":
            return await _follow(pod, store, step)
        alive = self.ledger.training.setdefault((uid, step), set())
        alive.add(pod_uid)
        if len(alive) > 1:
            self.ledger.wrong.append(f"I1: two pods train {step} of {uid} at a time")
        try:
            start = begin(store, f"{step}/a{attempt}", uid=pod_uid)
            self.ledger.begun[uid, step, attempt] += 1
            ended = await self.behave(pod)
            if ended is not None:
                return ended
            await asyncio.sleep(self.slow_s)
            why = superseded(store, step, attempt, start)
            if why is not None:
                return PodExit(why)
            self.publish(store, uid, step, attempt)
            return PodExit(Exit.DONE)
        finally:
            alive.discard(pod_uid)

    # Batch calls.

    async def start(self, attempt: Any, own: "Own | None", served: Mapping[str, str]) -> Any:
        """The operation; it is done once the weights that it works with are served."""
        key = (attempt.run_uri, attempt.step, attempt.number)
        if key not in self._known and read_published(open_store(attempt.run_uri), attempt.step) is None:
            self.ledger.begun[attempt.run_uid, attempt.step, attempt.number] += 1
            self._known[key] = {"uid": attempt.run_uid, **served}
        return await self.operation(operation_name(*key))

    async def operation(self, name: str) -> Any:
        uri, step, number = parse_operation_name(name)
        store = open_store(uri)
        known = self._known.get((uri, step, number))
        if known is not None and read_published(store, step) is None:
            wanted = {role: digest for role, digest in known.items() if role != "uid"}
            if await self._is_served(uri, known["uid"], step, wanted):
                self._compare(store, known["uid"], step, wanted)
                self.publish(store, known["uid"], step, number)
        found = read_published(store, step)
        if found is not None:
            return done_operation(name, found[1], found[0])
        if known is None:
            raise NotFound(f"{name} was never started here")
        return operations_pb2.Operation(name=name)

    def _compare(self, store: Store, uid: str, path: str, asked: Mapping[str, str]) -> None:
        step = step_at(path)
        assert step is not None
        meant = inputs_of(store, read_run(store), step)
        for role, digest in asked.items():
            if meant[role].weights_digest != digest:
                self.ledger.wrong.append(f"I3: {path} of {uid} was asked for with another {role}")

    async def _is_served(self, uri: str, uid: str, step: str, wanted: Mapping[str, str]) -> bool:
        if not wanted:
            return True
        found = step_at(step)
        generates = found is not None and found.service == GENERATION
        namespace = uri.rstrip("/").split("/")[-2]
        pod = await self.reached(namespace, engine_name(uid) if generates else scoring_name(uid))
        if pod is None:
            return False
        flags = {"policy": "--weights-digest"} if generates else {}
        return all(
            argument(pod, flags.get(role, f"--{role}-digest")) == digest for role, digest in wanted.items()
        )

    def publish(self, store: Store, uid: str, step: str, attempt: int) -> None:
        """The step's manifest, unless it is there."""
        with self._lock:
            if read_published(store, step) is not None:
                return
            publish(store, manifest_of(store, read_run(store), step, attempt, uid))
            self.ledger.published[uid, step] += 1
        self.told(uid, step)


async def _follow(pod: FakePod, store: Store, step: str) -> PodExit:
    """A rank that does not publish ends with the one that does."""
    while read_published(store, step) is None:
        if pod.stopping.is_set():
            return PodExit(Exit.TERMINATED)
        await asyncio.sleep(0.05)
    return PodExit(Exit.DONE)


async def _nothing(pod: FakePod) -> PodExit | None:
    return None
