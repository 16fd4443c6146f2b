"""The client against a server that speaks HTTP: what it sends, and what it makes of answers."""

import asyncio
import json
import sys

import pytest
from aiohttp import web

from scripted_server import Server, refuses, says
from selfie.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from selfie.kube.objects import JOB, SELFIE_RUN

RUN = {"metadata": {"name": "r", "namespace": "team", "uid": "u1", "resourceVersion": "7"}}


async def test_an_object_that_is_not_there_is_none(server: Server):
    server.answer = lambda request: refuses(404, "NotFound", name="r")
    async with server.client() as api:
        assert await api.get(SELFIE_RUN, "r", namespace="team") is None


async def test_a_kind_that_the_server_does_not_know_is_no_absence(server: Server):
    server.answer = lambda request: says(b"404 page not found\n", 404)
    async with server.client() as api:
        with pytest.raises(NotFound):
            await api.get(SELFIE_RUN, "r", namespace="team")


async def test_the_credentials_of_the_kubeconfig_are_shown(server: Server):
    server.answer = lambda request: says(RUN)
    async with server.client() as api:
        await api.get(SELFIE_RUN, "r", namespace="team")
    assert server.asked[0][0].headers["Authorization"] == "Bearer first"


async def test_what_the_operators_image_leaves_out_of_the_client_is_not_loaded(server: Server):
    server.answer = lambda request: says({"metadata": {"resourceVersion": "1"}, "items": [RUN]})
    async with server.client() as api:
        await api.list(SELFIE_RUN)
    loaded = {name for name in sys.modules if name.startswith("kubernetes.")}
    assert "kubernetes.aio.client.api_client" in loaded
    assert not [name for name in loaded if {"api", "models"} & set(name.split(".")[:-1])]


async def test_a_list_is_read_page_by_page(server: Server):
    async def answer(request: web.Request) -> web.Response:
        at = int(request.query.get("continue", 0))
        metadata = {"resourceVersion": "50", "continue": str(at + 1) if at < 2 else ""}
        return await says({"metadata": metadata, "items": [{"metadata": {"name": str(at)}}]})

    server.answer = answer
    async with server.client(page=1) as api:
        found = await api.list(JOB, namespace="team", labels={"b": "2", "a": "1"})
    assert [item["metadata"]["name"] for item in found.items] == ["0", "1", "2"]
    assert found.resource_version == "50"
    assert {request.query["limit"] for request, _ in server.asked} == {"1"}
    assert {request.query["labelSelector"] for request, _ in server.asked} == {"a=1,b=2"}


async def test_items_of_a_list_say_what_they_are(server: Server):
    server.answer = lambda request: says({"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {}}]})
    async with server.client() as api:
        (job,) = (await api.list(JOB)).items
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")


async def test_a_list_whose_pages_expired_is_to_be_begun_again(server: Server):
    server.answer = lambda request: refuses(410, "Expired")
    async with server.client() as api:
        with pytest.raises(FailedPrecondition) as caught:
            await api.list(JOB)
    assert caught.value.reason == "Expired"


async def test_a_name_that_is_taken_already_exists(server: Server):
    server.answer = lambda request: refuses(409, "AlreadyExists")
    async with server.client() as api:
        with pytest.raises(AlreadyExists):
            await api.create(JOB, RUN)
    request, body = server.asked[0]
    assert (request.method, request.path) == ("POST", "/apis/batch/v1/namespaces/team/jobs")
    assert json.loads(body) == RUN


async def test_a_replacement_goes_to_its_place_with_its_version(server: Server):
    server.answer = lambda request: says(RUN)
    async with server.client() as api:
        await api.replace(SELFIE_RUN, RUN, subresource="status")
    request, body = server.asked[0]
    place = "/apis/selfie.dev/v1alpha1/namespaces/team/selfieruns/r/status"
    assert (request.method, request.path) == ("PUT", place)
    assert json.loads(body)["metadata"]["resourceVersion"] == "7"


async def test_a_patch_is_a_merge_patch(server: Server):
    server.answer = lambda request: says(RUN)
    async with server.client() as api:
        await api.patch(JOB, "j", {"spec": {"suspend": None}}, namespace="team")
    request, body = server.asked[0]
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(body) == {"spec": {"suspend": None}}


async def test_a_deletion_is_of_one_uid_and_in_the_background(server: Server):
    server.answer = lambda request: says({"kind": "Status", "status": "Success"})
    async with server.client() as api:
        assert await api.delete(JOB, "j", uid="u1", namespace="team")
    sent = json.loads(server.asked[0][1])
    assert sent["preconditions"] == {"uid": "u1"}
    assert sent["propagationPolicy"] == "Background"


async def test_what_is_gone_or_another_is_not_deleted(server: Server):
    async def another(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            return await refuses(409, "Conflict", name="r")
        return await says(RUN)

    async with server.client() as api:
        server.answer = another
        assert not await api.delete(JOB, "r", uid="u0", namespace="team")
        server.answer = lambda request: refuses(404, "NotFound", name="r")
        assert not await api.delete(JOB, "r", uid="u0", namespace="team")


async def test_a_conflict_about_the_very_object_is_none_of_absence(server: Server):
    async def answer(request: web.Request) -> web.Response:
        return await (refuses(409, "Conflict") if request.method == "DELETE" else says(RUN))

    server.answer = answer
    async with server.client() as api:
        with pytest.raises(FailedPrecondition):
            await api.delete(JOB, "r", uid="u1", namespace="team")


async def test_no_answer_in_time_is_unavailable(server: Server):
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return await says({})

    server.answer = answer
    async with server.client(request_s=0.2) as api:
        with pytest.raises(Unavailable, match="get jobs team/j: no answer"):
            await api.get(JOB, "j", namespace="team")


async def test_a_refused_connection_is_unavailable(server: Server, unused_port: int):
    server.kubeconfig.write_text(
        server.kubeconfig.read_text().replace(server.url, f"http://127.0.0.1:{unused_port}")
    )
    async with server.client() as api:
        with pytest.raises(Unavailable):
            await api.create(JOB, RUN)


async def test_an_answer_that_is_no_json_is_unavailable(server: Server):
    server.answer = lambda request: says(b"<html>a proxy's idea of success")
    async with server.client() as api:
        with pytest.raises(Unavailable):
            await api.get(JOB, "j", namespace="team")


async def test_every_request_is_counted_once_by_verb_resource_and_code(server: Server):
    counted = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return await says(RUN)
        raise ConnectionResetError

    server.answer = answer
    async with server.client(request_s=0.5, on_answer=lambda *told: counted.append(told)) as api:
        await api.get(JOB, "j", namespace="team")
        server.answer = lambda request: refuses(409, "Conflict")
        with pytest.raises(FailedPrecondition):
            await api.replace(SELFIE_RUN, RUN, subresource="status")
        server.answer = lambda request: asyncio.sleep(60)
        with pytest.raises(Unavailable):
            await api.create(JOB, RUN)
    assert counted == [
        ("get", "jobs", "200"),
        ("update", "selfieruns/status", "409"),
        ("create", "jobs", "error"),
    ]


async def test_a_write_that_is_refused_beforehand_is_never_sent(server: Server):
    def refuse() -> None:
        raise FailedPrecondition("NotLeader", "no longer")

    server.answer = lambda request: says(RUN)
    async with server.client(before_write=refuse) as api:
        await api.get(JOB, "j", namespace="team")
        for write in (
            api.create(JOB, RUN),
            api.replace(JOB, RUN),
            api.patch(JOB, "j", {}, namespace="team"),
            api.delete(JOB, "j", uid="u", namespace="team"),
        ):
            with pytest.raises(FailedPrecondition, match="no longer"):
                await write
    assert [request.method for request, _ in server.asked] == ["GET"]


async def test_a_write_is_asked_about_after_its_connection_was_made(server: Server):
    order = []

    async def answer(request: web.Request) -> web.Response:
        order.append("sent")
        return await says(RUN)

    server.answer = answer
    async with server.client(before_write=lambda: order.append("asked"), per_second=20, burst=1) as api:
        await asyncio.gather(api.create(JOB, RUN), api.create(JOB, RUN))
    # The second waits for the rate limit first: asked earlier, it would be asked before the first is sent.
    assert order == ["asked", "sent", "asked", "sent"]
