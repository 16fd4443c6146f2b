"""Who may call a service: real tokens of a made-up API server, over a real port."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from identities import OPERATOR, Identities
from selfie import errors
from selfie.rpc.channels import connect, domain_errors
from selfie.rpc.credentials import TokenFile
from selfie.rpc.guards import HANDLED
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings
from selfie.v1 import filtering_pb2, filtering_pb2_grpc, training_pb2, training_pb2_grpc

NAME = "selfie.v1.FilteringService"
FILTER = f"{NAME}/Filter"
A_DAY = 24 * 3600
"""Longer than any run of the tests, which begins with what is said here."""


class Filtering(filtering_pb2_grpc.FilteringServiceServicer):
    async def Filter(self, request: Any, context: Any) -> filtering_pb2.FilterResponse:
        return filtering_pb2.FilterResponse()


class Training(training_pb2_grpc.TrainingServiceServicer):
    async def WatchTrainingJob(self, request: Any, context: Any) -> AsyncIterator[training_pb2.TrainingJob]:
        yield training_pb2.TrainingJob(name=request.name)


def register(server: grpc.aio.Server) -> None:
    filtering_pb2_grpc.add_FilteringServiceServicer_to_server(Filtering(), server)
    training_pb2_grpc.add_TrainingServiceServicer_to_server(Training(), server)


REQUEST = filtering_pb2.FilterRequest(
    pairs=[filtering_pb2.CandidatePair(id="a")],
    rules=filtering_pb2.FilterRules(
        action=filtering_pb2.NOISE_ACTION_KEEP, cut=filtering_pb2.CUT_POLICY_KEEP
    ),
)
WATCH = training_pb2.WatchTrainingJobRequest(name="jobs/a")
Connect = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest.fixture
async def serve(identities: Identities) -> AsyncIterator[Connect]:
    """A server that admits the operator; channels to it show the token that they are given."""
    opened: list[Any] = []

    async def serving(token: str | Callable[[], str] | None = None, **changes: Any) -> grpc.aio.Channel:
        settings = {"callers": (OPERATOR,), "api_server": identities.url} | changes
        server = RunningServer(
            ServerSettings(drain_seconds=0, api_credentials=identities.credentials, **settings),
            Service(names=(NAME,), register=register),
        )
        await server.start()
        credentials = (lambda: token) if isinstance(token, str) else token
        channel = connect(f"127.0.0.1:{server.port}", credentials=credentials)
        opened.extend((channel.close, server.stop))
        return channel

    yield serving
    for close in opened:
        await close()


async def ask(channel: grpc.aio.Channel) -> None:
    async with domain_errors():
        await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(REQUEST, timeout=5)


async def watched(channel: grpc.aio.Channel) -> list[str]:
    async with domain_errors():
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        return [job.name async for job in stub.WatchTrainingJob(WATCH, timeout=5)]


async def test_a_caller_on_the_list_is_answered(serve: Connect, identities: Identities) -> None:
    channel = await serve(identities.token())
    await ask(channel)
    assert await watched(channel) == ["jobs/a"]
    assert identities.fetches == 1


async def test_a_caller_without_a_token_is_unauthenticated_before_its_message_is_looked_at(
    serve: Connect,
) -> None:
    channel = await serve()
    with pytest.raises(errors.Unauthenticated, match="no token was shown"):
        await watched(channel)
    with pytest.raises(errors.Unauthenticated, match="no token was shown"):
        async with domain_errors():
            empty = filtering_pb2.FilterRequest()
            await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(empty, timeout=5)


async def test_a_foreign_account_is_denied_and_counted(serve: Connect, identities: Identities) -> None:
    before = HANDLED.labels(FILTER, "PERMISSION_DENIED")._value.get()
    channel = await serve(identities.token("system:serviceaccount:other:selfie-operator"))
    with pytest.raises(errors.PermissionDenied, match="other:selfie-operator is not among the callers"):
        await ask(channel)
    with pytest.raises(errors.PermissionDenied):
        await watched(channel)
    assert HANDLED.labels(FILTER, "PERMISSION_DENIED")._value.get() == before + 1


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": ["https://kubernetes.default.svc"]}, id="for the API server"),
        pytest.param({"aud": None}, id="for nobody"),
        pytest.param({"iss": "https://elsewhere"}, id="of another issuer"),
        pytest.param({"exp": int(time.time()) - 60}, id="expired"),
        pytest.param({"exp": None}, id="without an end"),
        pytest.param({"nbf": int(time.time()) + A_DAY}, id="not valid yet"),
        pytest.param({"sub": None}, id="of nobody"),
    ],
)
async def test_a_token_that_proves_something_else_is_refused(
    serve: Connect, identities: Identities, claims: dict[str, Any]
) -> None:
    channel = await serve(identities.token(**claims))
    with pytest.raises(errors.Unauthenticated, match="the token is not valid"):
        await ask(channel)


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_token_is_refused(serve: Connect, token: str) -> None:
    channel = await serve(token)
    with pytest.raises(errors.Unauthenticated):
        await ask(channel)


async def test_a_token_signed_by_another_key_under_a_known_name_is_refused(
    serve: Connect, identities: Identities
) -> None:
    forged = Identities.new_key(kid=identities.key.kid)
    channel = await serve(identities.token(key=forged))
    with pytest.raises(errors.Unauthenticated, match="the token is not valid"):
        await ask(channel)


async def test_health_needs_no_token_and_reflection_does(serve: Connect, identities: Identities) -> None:
    channel = await serve()
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in reflection.ServerReflectionInfo(iter([request]), timeout=5):
            pass
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    metadata = (("authorization", f"Bearer {identities.token()}"),)
    answers = [
        a async for a in reflection.ServerReflectionInfo(iter([request]), timeout=5, metadata=metadata)
    ]
    assert NAME in {service.name for service in answers[0].list_services_response.service}


async def test_a_token_file_that_is_renewed_is_shown_as_it_is_now(
    serve: Connect, identities: Identities, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(identities.token(exp=int(time.time()) - 60))
    channel = await serve(TokenFile(file))
    with pytest.raises(errors.Unauthenticated):
        await ask(channel)
    file.write_text(identities.token() + "\n")
    await ask(channel)
    file.unlink()
    with pytest.raises(errors.Unavailable, match="mount a projected token"):
        await ask(channel)


async def test_without_callers_nobody_is_asked(serve: Connect) -> None:
    await ask(await serve(callers=()))


async def test_api_tokens_come_and_go_without_a_restart(serve: Connect, tmp_path: Path) -> None:
    directory = tmp_path / "tokens"
    directory.mkdir()
    (directory / "ada").write_text("first\n")
    (directory / "..data").write_text("not a key")
    (directory / "empty").write_text("")
    shown = ["first"]
    channel = await serve(lambda: shown[0], callers=(), api_tokens=directory)
    await ask(channel)
    for shown[0] in ("", "not a key", "firs"):
        with pytest.raises(errors.Unauthenticated):
            await ask(channel)
    (directory / "ada").unlink()
    (directory / "grace").write_text("second")
    shown[0] = "second"
    await until(lambda: ask(channel))
    shown[0] = "first"
    with pytest.raises(errors.Unauthenticated, match="none of those"):
        await ask(channel)


async def until(answered: Callable[[], Awaitable[None]], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await answered()
        except errors.Unauthenticated:
            assert time.monotonic() < deadline
