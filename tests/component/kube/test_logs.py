"""Logs of containers."""

from aiohttp import web

from scripted_server import Server, refuses
from selfie.kube.logs import LONGEST_TAIL


def says_text(text: bytes):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=text)

    return answer


async def test_the_last_lines_of_a_container_are_asked_for(server: Server):
    server.answer = says_text(b"one\ntwo\n")
    async with server.client() as api:
        log = await api.log("p", namespace="team", container="trainer", lines=20, previous=True)
    assert log == "one\ntwo\n"
    request = server.asked[0][0]
    assert request.path == "/api/v1/namespaces/team/pods/p/log"
    assert dict(request.query) == {"container": "trainer", "tailLines": "20", "previous": "true"}


async def test_a_container_that_has_not_started_has_an_empty_log(server: Server):
    for message in (
        'container "trainer" in pod "p" is waiting to start: ContainerCreating',
        'previous terminated container "trainer" in pod "p" not found',
    ):
        server.answer = lambda request, message=message: refuses(400, "BadRequest", message)
        async with server.client() as api:
            assert not await api.log("p", namespace="team", lines=20)


async def test_only_the_end_of_an_endless_line_is_kept(server: Server):
    server.answer = says_text(b"x" * (LONGEST_TAIL * 3) + b"the end \xff")
    async with server.client() as api:
        log = await api.log("p", namespace="team", lines=1)
    assert len(log) <= LONGEST_TAIL
    assert log.endswith("the end �")
