"""Watches against a server that ends them, cuts them, expires them and falls silent."""

import asyncio
import json
from collections.abc import Callable

import pytest
from aiohttp import web

from scripted_server import Server, refuses
from selfie.errors import FailedPrecondition, PermissionDenied, Unavailable
from selfie.kube.api import Change
from selfie.kube.client import KubeApi
from selfie.kube.objects import JOB, name_of


def event(kind: str, name: str = "j", **fields: object) -> bytes:
    return json.dumps({"type": kind, "object": {"metadata": {"name": name}, **fields}}).encode() + b"\n"


def streams(*chunks: bytes, then: Callable[[], object] | None = None):
    """Answers with these chunks, then ends or does something else."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.02)
        if then is not None:
            await then()
        return response

    return answer


async def changes(api: KubeApi) -> list[Change]:
    return [change async for change in api.watch(JOB, resource_version="5", namespace="team")]


async def test_changes_come_in_order_until_the_server_ends_the_watch(server: Server):
    server.answer = streams(
        event("ADDED", "a"), event("MODIFIED", "a"), event("BOOKMARK"), event("DELETED", "a")
    )
    async with server.client() as api:
        found = await changes(api)
    assert [change.type for change in found] == ["ADDED", "MODIFIED", "BOOKMARK", "DELETED"]
    assert name_of(found[0].object) == "a"
    query = server.asked[0][0].query
    assert (query["resourceVersion"], query["allowWatchBookmarks"], query["watch"]) == ("5", "true", "true")
    assert 230 <= int(query["timeoutSeconds"]) <= 290


async def test_a_change_may_arrive_in_pieces(server: Server):
    whole = event("ADDED", "a") + event("ADDED", "b")
    server.answer = streams(whole[:10], whole[10:70], whole[70:])
    async with server.client() as api:
        assert [name_of(change.object) for change in await changes(api)] == ["a", "b"]


async def test_a_large_object_is_one_change(server: Server):
    server.answer = streams(event("ADDED", "a", data="x" * 3_000_000))
    async with server.client() as api:
        (change,) = await changes(api)
    assert len(change.object["data"]) == 3_000_000


async def test_a_version_that_is_too_old_has_expired(server: Server):
    server.answer = lambda request: refuses(410, "Gone")
    async with server.client() as api:
        with pytest.raises(FailedPrecondition) as caught:
            await changes(api)
    assert caught.value.reason == "Expired"


async def test_a_version_may_expire_in_mid_watch(server: Server):
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}}
    server.answer = streams(event("ADDED"), json.dumps(gone).encode() + b"\n")
    async with server.client() as api:
        with pytest.raises(FailedPrecondition) as caught:
            await changes(api)
    assert caught.value.reason == "Expired"


async def test_a_watch_that_is_not_allowed_says_so(server: Server):
    server.answer = lambda request: refuses(403, "Forbidden")
    async with server.client() as api:
        with pytest.raises(PermissionDenied, match="watch jobs"):
            await changes(api)


async def test_silence_is_a_dead_watch(server: Server):
    server.answer = streams(event("ADDED"), then=lambda: asyncio.sleep(60))
    async with server.client(silence_s=0.5) as api:
        seen = []
        with pytest.raises(Unavailable):
            async for change in api.watch(JOB, resource_version="5", namespace="team"):
                seen.append(change.type)
    assert seen == ["ADDED"]


async def test_silence_before_the_first_byte_is_a_dead_watch(server: Server):
    server.answer = lambda request: asyncio.sleep(60)
    async with server.client(silence_s=0.3) as api:
        with pytest.raises(Unavailable):
            await changes(api)


async def test_a_watch_may_last_longer_than_a_request(server: Server):
    server.answer = streams(*(event("BOOKMARK") for _ in range(30)))
    async with server.client(request_s=0.3) as api:
        assert len(await changes(api)) == 30


async def test_a_change_that_was_cut_off_is_no_change(server: Server):
    server.answer = streams(event("ADDED", "a"), event("ADDED", "b")[:20])
    async with server.client() as api:
        with pytest.raises(Unavailable):
            await changes(api)


async def test_a_reset_connection_is_unavailable(server: Server):
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        request.transport.abort()
        return response

    server.answer = answer
    async with server.client() as api:
        with pytest.raises(Unavailable):
            await changes(api)
