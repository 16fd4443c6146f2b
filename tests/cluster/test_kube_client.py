"""The client against a real API server: what its answers are, and what becomes of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.running import Cluster
from selfie.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from selfie.kube.client import ClientSettings, KubeApi, connect
from selfie.kube.objects import CONFIG_MAP, JOB, POD, Kind, Object, name_of, namespace_of, uid_of, version_of
from selfie.kube.transport import Access

NOWHERE = Kind("nowhere.dev/v1", "Nothing", "nothings")


def client(cluster: Cluster, **changes: Any) -> AbstractAsyncContextManager[KubeApi]:
    settings = ClientSettings(access=Access(kubeconfig=cluster.kubeconfig), per_second=200, burst=200)
    return connect(replace(settings, **changes))


@pytest.fixture
async def api(control_plane: Cluster) -> AsyncIterator[KubeApi]:
    async with client(control_plane) as connected:
        yield connected


def config_map(namespace: str, name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app.kubernetes.io/name": "selfie"}},
        "data": data,
    }


async def test_what_is_absent_is_none_and_what_is_unknown_is_not_found(api: KubeApi, namespace: str):
    assert await api.get(CONFIG_MAP, "absent", namespace=namespace) is None
    with pytest.raises(NotFound):
        await api.get(NOWHERE, "absent", namespace=namespace)
    with pytest.raises(NotFound):
        await api.create(CONFIG_MAP, config_map("no-such-namespace", "a"))


async def test_a_name_can_be_taken_once(api: KubeApi, namespace: str):
    created = await api.create(CONFIG_MAP, config_map(namespace, "a"))
    assert (created["kind"], namespace_of(created)) == ("ConfigMap", namespace)
    with pytest.raises(AlreadyExists):
        await api.create(CONFIG_MAP, config_map(namespace, "a"))


async def test_a_replacement_of_an_old_version_is_a_conflict(api: KubeApi, namespace: str):
    first = await api.create(CONFIG_MAP, config_map(namespace, "a"))
    second = await api.replace(CONFIG_MAP, first | {"data": {"x": "1"}})
    assert version_of(second) != version_of(first)
    with pytest.raises(FailedPrecondition) as caught:
        await api.replace(CONFIG_MAP, first | {"data": {"x": "2"}})
    assert caught.value.reason == "Conflict"


@pytest.mark.parametrize(
    "precondition", [{"uid": "00000000-0000-4000-8000-000000000000"}, {"resourceVersion": "1"}]
)
async def test_a_patch_holds_only_for_the_uid_and_version_that_it_names(
    api: KubeApi, namespace: str, precondition: dict[str, str]
):
    found = await api.create(CONFIG_MAP, config_map(namespace, "a", x="1"))
    patch = {"metadata": precondition, "data": {"x": "2"}}
    with pytest.raises(FailedPrecondition) as caught:
        await api.patch(CONFIG_MAP, "a", patch, namespace=namespace)
    assert caught.value.reason == "Conflict"
    metadata = {"uid": uid_of(found), "resourceVersion": version_of(found)}
    changed = {"metadata": metadata, "data": {"x": None, "y": "2"}}
    patched = await api.patch(CONFIG_MAP, "a", changed, namespace=namespace)
    assert patched["data"] == {"y": "2"}


async def test_only_the_very_object_is_deleted(api: KubeApi, namespace: str):
    found = await api.create(CONFIG_MAP, config_map(namespace, "a"))
    assert not await api.delete(
        CONFIG_MAP, "a", uid="00000000-0000-4000-8000-000000000000", namespace=namespace
    )
    assert await api.get(CONFIG_MAP, "a", namespace=namespace) is not None
    assert await api.delete(CONFIG_MAP, "a", uid=uid_of(found), namespace=namespace)
    assert not await api.delete(CONFIG_MAP, "a", uid=uid_of(found), namespace=namespace)


async def test_what_is_invalid_names_its_field(api: KubeApi, namespace: str):
    with pytest.raises(InvalidInput) as caught:
        await api.create(CONFIG_MAP, config_map(namespace, "a", **{"not a key!": "1"}))
    assert caught.value.field.startswith("data")


async def test_a_list_of_many_pages_is_whole(control_plane: Cluster, namespace: str):
    async with client(control_plane, page=3) as api:
        for number in range(8):
            await api.create(CONFIG_MAP, config_map(namespace, f"m{number}"))
        found = await api.list(CONFIG_MAP, namespace=namespace, labels={"app.kubernetes.io/name": "selfie"})
    assert sorted(name_of(item) for item in found.items) == [f"m{number}" for number in range(8)]
    assert {item["kind"] for item in found.items} == {"ConfigMap"}


async def test_a_watch_goes_on_where_the_list_ended(control_plane: Cluster, namespace: str):
    async with client(control_plane, watch_s=4) as api:
        first = await api.create(CONFIG_MAP, config_map(namespace, "a"))
        listing = await api.list(CONFIG_MAP, namespace=namespace)
        changed = await api.patch(CONFIG_MAP, "a", {"data": {"x": "1"}}, namespace=namespace)
        await api.delete(CONFIG_MAP, "a", uid=uid_of(first), namespace=namespace)
        changes = [
            change
            async for change in api.watch(
                CONFIG_MAP, resource_version=listing.resource_version, namespace=namespace
            )
        ]
    assert [change.type for change in changes] == ["MODIFIED", "DELETED"]
    assert version_of(changes[0].object) == version_of(changed)


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_an_idle_watch_has_a_bookmark_before_it_is_taken_for_dead(
    control_plane: Cluster, namespace: str
):
    settings = ClientSettings(access=Access(kubeconfig=control_plane.kubeconfig), watch_s=150)
    async with connect(settings) as api:
        listing = await api.list(CONFIG_MAP, namespace=namespace)
        changes = [
            change
            async for change in api.watch(
                CONFIG_MAP, resource_version=listing.resource_version, namespace=namespace
            )
        ]
    assert len([change for change in changes if change.type == "BOOKMARK"]) >= 2


async def test_a_version_from_before_the_servers_memory_has_expired(control_plane: Cluster, namespace: str):
    async with client(control_plane) as api:
        before = await api.list(CONFIG_MAP, namespace=namespace)
        await api.create(CONFIG_MAP, config_map(namespace, "a"))
        # A server remembers changes from its start on.
        await asyncio.to_thread(control_plane.restart, "kube-apiserver")
        with pytest.raises(FailedPrecondition) as caught:
            async for _ in api.watch(
                CONFIG_MAP, resource_version=before.resource_version, namespace=namespace
            ):
                pass
    assert caught.value.reason == "Expired"


async def test_an_account_without_a_role_may_nothing(control_plane: Cluster, namespace: str, tmp_path: Path):
    token = control_plane.kubectl("create", "token", "default", f"-n={namespace}").strip()
    path = tmp_path / "kubeconfig"
    config = json.loads(control_plane.kubectl("config", "view", "--raw", "--flatten", "--output=json"))
    config["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(config))
    async with connect(ClientSettings(access=Access(kubeconfig=path))) as api:
        with pytest.raises(PermissionDenied, match=r"list jobs"):
            await api.list(JOB, namespace=namespace)


async def test_a_pod_that_no_node_has_taken_has_an_empty_log(api: KubeApi, namespace: str):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": "p"},
        "spec": {"containers": [{"name": "main", "image": "none"}], "nodeSelector": {"no": "where"}},
    }
    await api.create(POD, pod)
    assert not await api.log("p", namespace=namespace, lines=10)
    with pytest.raises(NotFound):
        await api.log("absent", namespace=namespace, lines=10)


async def test_a_server_that_falls_silent_ends_its_watches(control_plane: Cluster, namespace: str):
    async with client(control_plane, silence_s=3, request_s=3) as api:
        listing = await api.list(CONFIG_MAP, namespace=namespace)
        watching = asyncio.create_task(
            anext(api.watch(CONFIG_MAP, resource_version=listing.resource_version, namespace=namespace))
        )
        await asyncio.sleep(0.5)
        await asyncio.to_thread(control_plane.pause, "kube-apiserver")
        try:
            with pytest.raises(Unavailable):
                await asyncio.wait_for(watching, 30)
            with pytest.raises(Unavailable):
                await api.get(CONFIG_MAP, "a", namespace=namespace)
        finally:
            await asyncio.to_thread(control_plane.resume, "kube-apiserver")
        # Until it has answered once more, the connections that were given up are half closed.
        await api.get(CONFIG_MAP, "a", namespace=namespace)
        await asyncio.sleep(1)


async def test_a_server_that_was_killed_is_spoken_to_again(control_plane: Cluster, namespace: str):
    async with client(control_plane) as api:
        await api.create(CONFIG_MAP, config_map(namespace, "a"))
        await asyncio.to_thread(control_plane.kill, "kube-apiserver")
        with pytest.raises(Unavailable):
            await api.get(CONFIG_MAP, "a", namespace=namespace)
        await asyncio.to_thread(control_plane.start, "kube-apiserver")
        assert await api.get(CONFIG_MAP, "a", namespace=namespace) is not None
