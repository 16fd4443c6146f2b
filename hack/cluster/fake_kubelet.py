"""A fake node for the control-plane level: pods go through their phases, and code decides their fate.

KWOK could stand here, and is built from a Go module too. But its stages are data: a pod that ends
when a test says so, writes an artifact before it does, or looks at what another pod has done, is a
function of a few lines here and a new stage machine there.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cluster import fake_pods, fake_scheduling, pod_statuses
from cluster.fake_pods import KILLED, FakePod, Program
from cluster.kubelet_logs import log_server
from cluster.node_api import NodeApi, Object
from cluster.pod_statuses import Exit, Waiting
from cluster.running import Cluster
from selfie.errors import NotFound

T = TypeVar("T")
_PATIENCE_S: Final = 60.0


def _default(pod: FakePod) -> Coroutine[Any, Any, Exit]:
    """What pods do that nobody decides for: those that are kept alive serve, all else succeeds."""
    keeps = pod.object["spec"].get("restartPolicy", "Always") == "Always"
    return fake_pods.serve(pod) if keeps else fake_pods.succeed(pod)


def _nothing(_: Object) -> None:
    return None


class FakeKubelet:
    """A node as a context: ``with FakeKubelet(cluster, run=program) as node``.

    ``run`` is called for every start of a pod's container and decides how it ends. ``waits`` says why
    a pod cannot start, as long as that is so. Both may be replaced while the node runs. It lives in
    a thread of its own, so that a test may block, or run an event loop of its own.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        run: Program = _default,
        waits: Callable[[Object], Waiting | None] = _nothing,
        name: str = "fake-node",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.run, self.waits = run, waits
        self.name, self.labels = name, dict(labels or {})
        self._cluster = cluster
        self._pods: dict[str, FakePod] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self.failures: list[Exception] = []
        """What programs have raised; raised again when the node ends."""
        self._addresses = 0
        self._loop = asyncio.new_event_loop()
        self._ready: Future[None] = Future()
        self._done: asyncio.Event
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(_PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(_PATIENCE_S)
        if self.failures and error is None:
            raise ExceptionGroup("the programs of these pods failed as code", self.failures)

    def pods(self) -> list[Object]:
        """Pods that are on the node, as they were last seen."""
        return [pod.object for pod in list(self._pods.values())]

    def evict(self, namespace: str, name: str, *, message: str = "The node was low on memory.") -> None:
        """Puts a pod off the node as a kubelet under pressure does: Failed, with DisruptionTarget."""

        async def evict() -> None:
            pod = self._find(namespace, name)
            pod.eviction = message
            pod.stopping.set()

        self._call(evict())

    def kill(self, namespace: str, name: str, ended: Exit = KILLED) -> None:
        """Ends a pod's container at once, unasked: ``Exit(137, "OOMKilled")``."""

        async def kill() -> None:
            pod = self._find(namespace, name)
            if not pod.killed.done():
                pod.killed.set_result(ended)

        self._call(kill())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def _find(self, namespace: str, name: str) -> FakePod:
        for pod in self._pods.values():
            if (pod.namespace, pod.name) == (namespace, name):
                return pod
        raise NotFound(f"pod {namespace}/{name} is not on {self.name}")

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        except Exception as error:
            self.failures.append(error)
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _live(self) -> None:
        self._done = asyncio.Event()
        pki = self._cluster.layout.pki
        own = {"certificate": pki / "fake-kubelet.crt", "key": pki / "fake-kubelet.key"}
        host, port = self._cluster.plan.api_address
        api = NodeApi(f"https://{host}:{port}", authority=pki / "ca.crt", **own)
        with log_server(self._log, **own) as log_port:
            try:
                await self._register(api, log_port)
                self._ready.set_result(None)
                await self._follow(api)
            finally:
                await self._end()
                await api.close()

    async def _register(self, api: NodeApi, port: int) -> None:
        node = pod_statuses.node(self.name, labels=self.labels, port=port)
        await api.create("/api/v1/nodes", node)
        # It may be there from a start before this one, whose logs were served elsewhere.
        await api.merge(f"/api/v1/nodes/{self.name}", {"metadata": node["metadata"]})
        await api.merge(f"/api/v1/nodes/{self.name}/status", {"status": node["status"]})

    async def _follow(self, api: NodeApi) -> None:
        watching = asyncio.create_task(self._watch(api))
        done = asyncio.create_task(self._done.wait())
        await asyncio.wait({watching, done}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, done):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    async def _end(self) -> None:
        tasks = [*self._lives.values(), *self._waiting.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, api: NodeApi) -> None:
        async for kind, found in api.changes("/api/v1/pods"):
            if kind == "LISTED":
                listed = {pod["metadata"]["uid"] for pod in found["items"]}
                for uid in [uid for uid in self._pods if uid not in listed]:
                    self._forget(uid)
                for pod in found["items"]:
                    self._see(pod, api)
            elif kind == "DELETED":
                self._forget(found["metadata"]["uid"])
            elif kind != "BOOKMARK":
                self._see(found, api)

    def _see(self, found: Object, api: NodeApi) -> None:
        uid, node = found["metadata"]["uid"], found["spec"].get("nodeName")
        if uid in self._pods:
            pod = self._pods[uid]
            pod.object = found
            self._notice_deletion(pod)
        elif node == self.name:
            self._take(uid, found, api)
        elif node is None and uid not in self._waiting and not found["spec"].get("schedulingGates"):
            self._waiting[uid] = self._spawn(fake_scheduling.bind(api, found, self.name, self._why_not))

    def _take(self, uid: str, found: Object, api: NodeApi) -> None:
        self._waiting.pop(uid, None)
        pod = self._pods[uid] = FakePod(found, self._address(), api)
        self._notice_deletion(pod)
        has_ended = found["status"].get("phase") in {"Succeeded", "Failed"}
        rest = fake_pods.vanish_when_deleted(pod) if has_ended else self._life(pod)
        self._lives[uid] = self._spawn(rest)

    def _life(self, pod: FakePod) -> Coroutine[Any, Any, None]:
        return fake_pods.live(pod, self._run, self._keeps_waiting)

    # Asked for anew each time, so that a test may change its mind.

    def _run(self, pod: FakePod) -> Awaitable[Exit]:
        return self.run(pod)

    def _keeps_waiting(self, found: Object) -> Waiting | None:
        why = self.waits(found)
        return None if why and why.reason == fake_scheduling.UNSCHEDULABLE else why

    def _notice_deletion(self, pod: FakePod) -> None:
        if "deletionTimestamp" in pod.object["metadata"]:
            pod.deleted.set()
            pod.stopping.set()

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        for tasks in (self._lives, self._waiting):
            task = tasks.pop(uid, None)
            if task:
                task.cancel()

    def _why_not(self, found: Object) -> Waiting | None:
        return fake_scheduling.why_not(found, self.labels, self.waits)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.failures.append(error)

    def _address(self) -> str:
        self._addresses += 1
        return f"10.88.{self._addresses // 250 % 250}.{self._addresses % 250 + 1}"

    def _log(self, namespace: str, name: str) -> list[str] | None:
        # From another thread; a copy, since pods come and go meanwhile.
        pods = {(pod.namespace, pod.name): pod for pod in list(self._pods.values())}
        pod = pods.get((namespace, name))
        return None if pod is None else list(pod.logs)
