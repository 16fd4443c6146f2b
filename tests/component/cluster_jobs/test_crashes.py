"""Wherever the controller dies, one request is one Job, and a stop leaves nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from job_cluster import JOB, JobCluster
from job_worlds import World, container
from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.store import Store
from selfie.kube.objects import Object
from selfie.rpc.stores import store_opener
from selfie.training.cluster.controller import ClusterJobs


class Crash(Exception):
    """The process is gone."""


class CrashingStore(Store):
    """A store that is told of each write, before and after it."""

    def __init__(self, inner: Store, tick: Callable[[], None]) -> None:
        super().__init__(inner.uri, inner._files)
        self._tick = tick

    def write(self, path: str, data: bytes) -> None:
        self._tick()
        super().write(path, data)
        self._tick()

    def create(self, path: str, data: bytes) -> None:
        self._tick()
        super().create(path, data)
        self._tick()

    def delete(self, prefix: str) -> None:
        self._tick()
        super().delete(prefix)
        self._tick()


class CrashingApi:
    """An API server whose writes are counted the same way."""

    def __init__(self, inner: JobCluster, tick: Callable[[], None]) -> None:
        self._inner = inner
        self._tick = tick

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, *args: Any, **kwargs: Any) -> Object:
        self._tick()
        found = await self._inner.create(*args, **kwargs)
        self._tick()
        return found

    async def delete(self, *args: Any, **kwargs: Any) -> bool:
        self._tick()
        found = await self._inner.delete(*args, **kwargs)
        self._tick()
        return found


def crashing(world: World, after: int) -> ClusterJobs:
    """A controller that dies at its ``after``-th chance, and does nothing any more."""
    left = after

    def tick() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Crash

    opener = store_opener((world.root,))
    api: Any = CrashingApi(world.cluster, tick)
    return world.controller(api=api, opener=lambda uri: CrashingStore(opener(uri), tick))


@pytest.mark.parametrize("after", range(1, 20))
async def test_wherever_the_controller_dies_the_same_request_ends_in_one_job(
    world: World, after: int
) -> None:
    try:
        await world.create(crashing(world, after))
    except Crash:
        pass
    else:
        assert after > 10
    job = await world.create()
    assert job.state == "running"
    made = world.cluster.only(JOB)
    digest = digest_bytes(world.store.read(f"{world.path}/parameters.json")).sha256
    assert digest in container(made)["args"]
    assert world.cluster.count("create", JOB) <= 2
    # And a stop, wherever it dies, leaves nothing either.
    for point in range(1, 6):
        try:
            await crashing(world, point).cancel(world.name)
        except Crash:
            continue
    assert (await world.jobs.cancel(world.name)).state == "cancelled"
    assert world.cluster.all(JOB) == []
