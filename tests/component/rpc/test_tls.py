"""TLS and client certificates over both ways, and what happens when the files are renewed."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from certificates import Authority, Files
from selfie.errors import InvalidInput
from selfie.rpc.entrances import HttpApi
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings
from selfie.v1 import filtering_pb2, filtering_pb2_grpc
from web import ask

NAME = "selfie.v1.FilteringService"
REQUEST = filtering_pb2.FilterRequest(
    pairs=[filtering_pb2.CandidatePair(id="a")],
    rules=filtering_pb2.FilterRules(
        action=filtering_pb2.NOISE_ACTION_KEEP, cut=filtering_pb2.CUT_POLICY_KEEP
    ),
)


class Filtering(filtering_pb2_grpc.FilteringServiceServicer):
    async def Filter(self, request: Any, context: Any) -> filtering_pb2.FilterResponse:
        return filtering_pb2.FilterResponse(counts={"pairs": len(request.pairs)})


def register(server: grpc.aio.Server) -> None:
    filtering_pb2_grpc.add_FilteringServiceServicer_to_server(Filtering(), server)


API = HttpApi(((filtering_pb2.DESCRIPTOR.services_by_name["FilteringService"], Filtering()),))
Pair = tuple[bytes, bytes]
Serve = Callable[..., Awaitable[RunningServer]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
async def serve(files: Files) -> AsyncIterator[Serve]:
    started: list[RunningServer] = []

    async def serving(**settings: Any) -> RunningServer:
        given = {"tls_certificate": files.certificate, "tls_key": files.key, "http_port": 0} | settings
        service = Service(names=(NAME,), register=register, api=API)
        server = RunningServer(ServerSettings(drain_seconds=0, **given), service)
        await server.start()
        started.append(server)
        return server

    yield serving
    for server in started:
        await server.stop()


def channel(port: int, authority: Authority, pair: Pair | None = None) -> grpc.aio.Channel:
    certificate, key = pair or (None, None)
    credentials = grpc.ssl_channel_credentials(authority.certificate, key, certificate)
    # Channels to one address share their connection otherwise, and with it the handshake.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options)


async def answered(made: grpc.aio.Channel) -> bool:
    """Whether a call on the channel is answered, as opposed to finding no connection."""
    call = filtering_pb2_grpc.FilteringServiceStub(made).Filter(REQUEST, timeout=10)
    code = await call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    return code == grpc.StatusCode.OK


async def by_grpc(server: RunningServer, authority: Authority, pair: Pair | None = None) -> bool:
    async with channel(server.port, authority, pair) as made:
        return await answered(made)


async def by_http(server: RunningServer, authority: Authority, pair: Pair | None = None) -> bool:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    if pair is not None:
        _load(context, pair)
    try:
        found = await ask(f"https://127.0.0.1:{server.http_port}/healthz", context=context)
    except OSError:
        return False
    return found.status == 200


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(pair))
        file.flush()
        context.load_cert_chain(file.name)


WAYS = pytest.mark.parametrize("way", [by_grpc, by_http])


@WAYS
async def test_a_service_is_known_by_its_certificate(serve: Serve, files: Files, way) -> None:
    authority, stranger = Authority("ours"), Authority("theirs")
    files.write(authority.signed("scorer"))
    server = await serve()
    assert await way(server, authority)
    assert not await way(server, stranger)


async def test_nothing_is_answered_in_the_clear(serve: Serve, files: Files) -> None:
    files.write(Authority("ours").signed("scorer"))
    server = await serve()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as plain:
        assert not await answered(plain)
    with pytest.raises(OSError):
        await ask(f"http://127.0.0.1:{server.http_port}/healthz")


@WAYS
async def test_callers_must_show_a_certificate_where_they_are_asked_for_one(
    serve: Serve, files: Files, way
) -> None:
    authority, callers, stranger = Authority("ours"), Authority("callers"), Authority("theirs")
    files.write(authority.signed("scorer"))
    files.trust(callers)
    server = await serve(tls_client_authorities=files.authorities)
    assert await way(server, authority, callers.signed("ada"))
    assert not await way(server, authority)
    assert not await way(server, authority, stranger.signed("eve"))


@WAYS
async def test_a_renewed_certificate_is_the_one_that_new_connections_see(
    serve: Serve, files: Files, way
) -> None:
    old, new = Authority("old"), Authority("new")
    files.write(old.signed("scorer"))
    server = await serve()
    assert await way(server, old)
    files.write(new.signed("scorer"))
    assert await way(server, new)
    assert not await way(server, old)


@WAYS
async def test_renewed_authorities_decide_who_may_connect_from_then_on(
    serve: Serve, files: Files, way
) -> None:
    authority, old, new = Authority("ours"), Authority("old callers"), Authority("new callers")
    files.write(authority.signed("scorer"))
    files.trust(old)
    server = await serve(tls_client_authorities=files.authorities)
    assert not await way(server, authority, new.signed("ada"))
    files.trust(new)
    assert await way(server, authority, new.signed("ada"))
    assert not await way(server, authority, old.signed("ada"))


@WAYS
async def test_while_half_of_the_files_are_renewed_the_old_ones_serve_on(
    serve: Serve, files: Files, way
) -> None:
    old, new = Authority("old"), Authority("new")
    files.write(old.signed("scorer"))
    server = await serve()
    certificate, key = new.signed("scorer")
    files.key.write_bytes(key)
    assert await way(server, old)
    files.key.unlink()
    assert await way(server, old)
    files.write((certificate, key))
    assert await way(server, new)


async def test_a_connection_outlives_the_certificate_that_it_began_with(serve: Serve, files: Files) -> None:
    old, new = Authority("old"), Authority("new")
    files.write(old.signed("scorer"))
    server = await serve()
    async with channel(server.port, old) as made:
        assert await answered(made)
        files.write(new.signed("scorer"))
        assert await by_grpc(server, new)
        assert await answered(made)


async def test_no_call_fails_while_certificates_are_renewed_again_and_again(
    serve: Serve, files: Files
) -> None:
    authority = Authority("ours")
    files.write(authority.signed("scorer"))
    server = await serve()
    results: list[bool] = []

    async def calls() -> None:
        async with channel(server.port, authority) as kept:
            while len(results) < 60:
                results.append(await answered(kept))
                results.append(await by_grpc(server, authority))
                results.append(await by_http(server, authority))

    callers = asyncio.gather(calls(), calls())
    while not callers.done():
        files.write(authority.signed("scorer"))
        await asyncio.sleep(0.05)
    await callers
    assert all(results)


async def test_health_can_be_asked_for_without_a_certificate_on_a_port_of_its_own(
    serve: Serve, files: Files
) -> None:
    files.write(Authority("ours").signed("scorer"))
    server = await serve(health_port=0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as plain:
        stub: Any = health_pb2_grpc.HealthStub(plain)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await filtering_pb2_grpc.FilteringServiceStub(plain).Filter(REQUEST, timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_files_that_do_not_fit_are_said_to_at_the_start(serve: Serve, files: Files) -> None:
    certificate, _ = Authority("ours").signed("scorer")
    files.write((certificate, Authority("ours").signed("scorer")[1]))
    with pytest.raises(InvalidInput, match=r"tls\.crt"):
        await serve()


@pytest.mark.parametrize("missing", ["tls_certificate", "tls_key"])
async def test_half_of_what_tls_needs_is_refused(serve: Serve, files: Files, missing: str) -> None:
    files.write(Authority("ours").signed("scorer"))
    with pytest.raises(InvalidInput, match=missing.replace("_", "-")):
        await serve(**{missing: None})


async def test_prometheus_is_told_when_the_certificate_in_use_runs_out(serve: Serve, files: Files) -> None:
    authority = Authority("one")
    files.write(authority.signed("service"))
    await serve()
    labels = {"certificate": str(files.certificate)}
    told = REGISTRY.get_sample_value("selfie_certificate_expiry_timestamp_seconds", labels)
    found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert told == found.not_valid_after_utc.timestamp()
