"""A pod's way to the API server: TLS by its own authority, and a token that the kubelet replaces."""

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripted_server import Server, says, serving
from selfie.errors import FailedPrecondition, Unavailable
from selfie.kube.client import ClientSettings, connect
from selfie.kube.objects import JOB
from selfie.kube.transport import Access


def write_certificate(folder: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that is its own authority, at ``ca.crt``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "ca.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(key.private_bytes(pem, *plain))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "ca.crt", folder / "key")
    return context


@pytest.fixture
async def secure_server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, write_certificate(tmp_path)) as found:
        found.answer = lambda request: says({"metadata": {"name": "j"}})
        yield found


def pod(folder: Path, server: Server, *, token_s: float = 60) -> ClientSettings:
    (folder / "token").write_text("first\n")
    host, port = server.url.removeprefix("https://").split(":")
    return ClientSettings(
        access=Access(
            token_file=str(folder / "token"),
            ca_file=str(folder / "ca.crt"),
            token_s=token_s,
            environ={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port},
        ),
        request_s=5,
    )


def shown(server: Server) -> list[str]:
    return [request.headers["Authorization"].split()[1] for request, _ in server.asked]


async def test_a_token_that_was_replaced_is_the_one_that_is_shown(secure_server: Server, tmp_path: Path):
    async with connect(pod(tmp_path, secure_server, token_s=0)) as api:
        await api.get(JOB, "j", namespace="team")
        (tmp_path / "token").write_text("second\n")
        await api.get(JOB, "j", namespace="team")
    assert shown(secure_server) == ["first", "second"]


async def test_a_token_is_not_read_for_every_request(secure_server: Server, tmp_path: Path):
    async with connect(pod(tmp_path, secure_server)) as api:
        (tmp_path / "token").write_text("second\n")
        await api.get(JOB, "j", namespace="team")
    assert shown(secure_server) == ["first"]


async def test_a_token_that_cannot_be_read_for_a_moment_is_the_old_one(secure_server: Server, tmp_path: Path):
    async with connect(pod(tmp_path, secure_server, token_s=0)) as api:
        (tmp_path / "token").unlink()
        await api.get(JOB, "j", namespace="team")
    assert shown(secure_server) == ["first"]


async def test_a_server_of_another_authority_is_not_spoken_to(secure_server: Server, tmp_path: Path):
    settings = pod(tmp_path, secure_server)
    write_certificate(tmp_path)
    async with connect(settings) as api:
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await api.get(JOB, "j", namespace="team")
    assert not secure_server.asked


async def test_outside_a_pod_and_without_a_kubeconfig_there_is_no_way():
    with pytest.raises(FailedPrecondition) as caught:
        async with connect(ClientSettings(access=Access(environ={}))):
            pass
    assert caught.value.reason == "NoClusterAccess"


async def once(request: web.Request) -> web.Response:
    """An answer after which the connection is closed, so that the next request makes another."""
    answer = await says({"metadata": {"name": "j"}})
    answer.force_close()
    return answer


async def test_an_authority_that_was_replaced_is_the_one_that_is_trusted(tmp_path: Path):
    tls = write_certificate(tmp_path)
    async with serving(tmp_path, tls) as server:
        server.answer = once
        async with connect(pod(tmp_path, server)) as api:
            await api.get(JOB, "j", namespace="team")
            write_certificate(tmp_path)
            with pytest.raises(Unavailable, match=r"(?i)certificate"):
                await api.get(JOB, "j", namespace="team")
            tls.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
            await api.get(JOB, "j", namespace="team")
    assert len(server.asked) == 2


async def test_an_authority_that_cannot_be_read_for_a_moment_is_the_old_one(tmp_path: Path):
    async with serving(tmp_path, write_certificate(tmp_path)) as server:
        server.answer = once
        async with connect(pod(tmp_path, server)) as api:
            (tmp_path / "ca.crt").write_text("half of a")
            await api.get(JOB, "j", namespace="team")
    assert len(server.asked) == 1
