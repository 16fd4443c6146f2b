"""Reflectors against a real API server that is killed, compacted and silent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cluster.running import Cluster
from selfie.kube.client import ClientSettings, KubeApi, connect
from selfie.kube.objects import JOB, Object, uid_of
from selfie.kube.transport import Access
from selfie_operator.backoffs import Backoff
from selfie_operator.caches import Cache
from selfie_operator.keys import Key
from selfie_operator.reflectors import CHILD_LABELS, Reflector, Watching


def job(namespace: str, name: str, run: str) -> Object:
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}
    labels = {**CHILD_LABELS, "selfie.dev/run": run, "selfie.dev/run-uid": f"uid-of-{run}"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"suspend": True, "template": pod},
    }


class Reflected:
    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.cache = Cache(JOB)
        self.hints: list[Key] = []
        watching = Watching(namespace=namespace, labels=CHILD_LABELS, backoff=Backoff(0.2, 1))
        self.reflector = Reflector(api, self.cache, watching, lambda key, urgent: self.hints.append(key))

    async def until(self, holds: Callable[[], object], *, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.05)

    async def put(self, name: str, run: str = "r") -> Object:
        return await self.api.create(JOB, job(self.namespace, name, run))

    def names(self) -> set[str]:
        return {found["metadata"]["name"] for found in self.cache}


@asynccontextmanager
async def reflecting(cluster: Cluster, namespace: str, **changes: Any) -> AsyncIterator[Reflected]:
    settings = ClientSettings(
        access=Access(kubeconfig=cluster.kubeconfig), per_second=200, request_s=10, **changes
    )
    async with connect(settings) as api:
        reflected = Reflected(api, namespace)
        task = asyncio.create_task(reflected.reflector.run())
        try:
            await reflected.until(lambda: reflected.cache.synced)
            yield reflected
        finally:
            task.cancel()


async def test_children_come_change_and_go(control_plane: Cluster, namespace: str):
    async with reflecting(control_plane, namespace) as found:
        created = await found.put("one")
        await found.until(lambda: found.hints)
        assert set(found.hints) == {Key(namespace, "r")}
        assert len(found.cache.of_run("uid-of-r")) == 1
        await found.api.patch(JOB, "one", {"metadata": {"annotations": {"a": "b"}}}, namespace=namespace)
        await found.until(lambda: "annotations" in next(iter(found.cache))["metadata"])
        await found.api.delete(JOB, "one", uid=uid_of(created), namespace=namespace)
        await found.until(lambda: not found.names())


async def test_watches_that_end_lose_nothing(control_plane: Cluster, namespace: str):
    async with reflecting(control_plane, namespace, watch_s=2) as found:
        for number in range(20):
            await found.put(f"j{number}", run=f"r{number}")
            await asyncio.sleep(0.3)
        await found.until(lambda: len(found.names()) == 20)
        assert {key.name for key in found.hints} == {f"r{number}" for number in range(20)}


async def test_what_happened_while_the_server_was_away_is_told_of(control_plane: Cluster, namespace: str):
    async with reflecting(control_plane, namespace) as found:
        gone = await found.put("gone", run="old")
        await found.until(lambda: found.names() == {"gone"})
        for _ in range(3):
            await asyncio.to_thread(control_plane.restart, "kube-apiserver")
        async with connect(ClientSettings(access=Access(kubeconfig=control_plane.kubeconfig))) as api:
            await api.delete(JOB, "gone", uid=uid_of(gone), namespace=namespace)
            await api.create(JOB, job(namespace, "new", "new"))
        await found.until(lambda: found.names() == {"new"})
        assert found.hints[-1].name in {"old", "new"}


async def test_a_stalled_server_is_noticed_and_caught_up_with(control_plane: Cluster, namespace: str):
    async with reflecting(control_plane, namespace, silence_s=4) as found:
        await found.put("before")
        await found.until(lambda: found.names() == {"before"})
        await asyncio.to_thread(control_plane.pause, "kube-apiserver")
        await asyncio.sleep(6)
        await asyncio.to_thread(control_plane.resume, "kube-apiserver")
        await found.put("after")
        await found.until(lambda: found.names() == {"before", "after"})
