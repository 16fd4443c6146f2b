"""HTTP to the API server: credentials, connections and times out, by the official asyncio client.

Only the client's configuration and its raw calls are used: its models would turn every object
into a tree of Python objects and back.
"""

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)

from selfie.errors import FailedPrecondition, Unavailable
from selfie.kube.answers import quoted
from selfie.kube.requests import Asked

Check = Callable[[], None]

_READS = {"GET", "HEAD"}
_CONNECT_S = 5.0


@dataclass(frozen=True)
class Access:
    """How to reach the API server: by ``kubeconfig``, else as a pod, by its service account.

    The token file is read again every ``token_s`` seconds, because the kubelet replaces it before it
    expires; the authority's file counts as it is whenever a connection is made. ``environ`` says where
    a pod finds the API server.
    """

    kubeconfig: Path | None = None
    token_file: str = SERVICE_TOKEN_FILENAME
    ca_file: str = SERVICE_CERT_FILENAME
    token_s: float = 60
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Transport:
    """Sends requests; raises `Unavailable` when no answer, or no more of it, comes."""

    def __init__(self, client: ApiClient, *, request_s: float, silence_s: float) -> None:
        self._client = client
        self._whole = aiohttp.ClientTimeout(total=request_s, sock_connect=_CONNECT_S)
        self._stream = aiohttp.ClientTimeout(
            total=None, connect=request_s, sock_connect=_CONNECT_S, sock_read=silence_s
        )

    @asynccontextmanager
    async def send(
        self,
        asked: Asked,
        *,
        query: Mapping[str, str | int | None],
        body: Mapping[str, Any] | None,
        content_type: str,
        stream: bool,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, whose body is to be read inside; a stream may last, but not be silent."""
        with _answered(asked):
            request = await self._client.param_serialize(
                asked.method,
                asked.path,
                query_params=[(key, str(value)) for key, value in query.items() if value is not None],
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            timeout = self._stream if stream else self._whole
            answer = (await self._client.call_api(*request, _request_timeout=timeout)).response
            try:
                yield answer
            finally:
                answer.close() if stream else answer.release()


class _answered:  # noqa: N801  # reads as a statement
    """Turns every way not to be answered into `Unavailable`."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
            said = f"{type(error).__name__} {error}".strip()
            raise Unavailable(f"{self._asked}: no answer: {quoted(said)}") from error


class _CheckedConnector(aiohttp.TCPConnector):
    """Asks once more whether it may, with the connection in hand: nothing waits after that.

    ``trust`` says whom a server must be known to, for each new connection.
    """

    def __init__(self, check: Check, trust: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(ssl=trust())
        self._check = check
        self._trust = trust

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        self._ssl = self._trust()
        connection = await super().connect(req, traces, timeout)
        if req.method not in _READS:
            try:
                self._check()
            except BaseException:
                connection.release()
                raise
        return connection


@asynccontextmanager
async def open_transport(
    access: Access, *, agent: str, before_write: Check, request_s: float, silence_s: float
) -> AsyncIterator[Transport]:
    """A transport that calls ``before_write`` right before each request that may change something.

    ``agent`` is what the API server's audit log calls this process.
    """
    client = ApiClient(await _configuration(access))
    client.user_agent = agent
    # The official client makes its session on the first request, from these settings.
    known = client.rest_client.ssl_context
    own = _Authority(Path(access.ca_file), known) if access.kubeconfig is None else None
    connector = _CheckedConnector(before_write, own or (lambda: known))
    client.configuration.client_session_kwargs = {"connector": connector}
    try:
        yield Transport(client, request_s=request_s, silence_s=silence_s)
    finally:
        await client.close()
        await connector.close()
        await asyncio.sleep(0)


async def _configuration(access: Access) -> Configuration:
    configuration = Configuration()
    try:
        if access.kubeconfig is not None:
            await load_kube_config(
                config_file=str(access.kubeconfig),
                client_configuration=configuration,
                persist_config=False,
            )
        else:
            loader = InClusterConfigLoader(access.token_file, access.ca_file, False, access.environ)
            loader.load_and_set(configuration)
            token = _TokenFile(access)
            token(configuration)
            configuration.refresh_api_key_hook = token
    except (ConfigException, OSError) as error:
        raise FailedPrecondition("NoClusterAccess", f"no way to the API server: {error}") from error
    return configuration


class _Authority:
    """The pod's authority as its file is by now: a cluster may change to another one while we run."""

    def __init__(self, file: Path, known: ssl.SSLContext) -> None:
        self._file = file
        self._known = known
        self._read = self._state()

    def __call__(self) -> ssl.SSLContext:
        state = self._state()
        if state != self._read:
            # What cannot be read is left alone, and the last that could counts on.
            with contextlib.suppress(OSError):
                self._known = ssl.create_default_context(cafile=str(self._file))
                self._read = state
        return self._known

    def _state(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


class _TokenFile:
    """The pod's token as it is by now; called before each request.

    The official loader has the same by the wall clock, fails where the file cannot be read for a
    moment, and sends a line's end along.
    """

    def __init__(self, access: Access) -> None:
        self._path = Path(access.token_file)
        self._every_s = access.token_s
        self._read_at = float("-inf")

    def __call__(self, configuration: Configuration) -> None:
        if time.monotonic() - self._read_at < self._every_s:
            return
        with contextlib.suppress(OSError):
            token = self._path.read_text().strip()
            self._read_at = time.monotonic()
            if token:
                configuration.api_key["BearerToken"] = f"Bearer {token}"
