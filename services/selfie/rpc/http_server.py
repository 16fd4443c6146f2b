"""HTTP beside gRPC, in the same process and event loop: the methods, their description, and health.

    POST /package.Service/Method    JSON or protobuf, by the Connect protocol
    GET  /openapi.json              what there is to call
    GET  /healthz, /readyz          alive; loaded and taking calls

Only the methods ask who calls.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import uvicorn
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.errors import ConnectError
from connectrpc.server import ConnectASGIApplication
from google.protobuf import json_format
from google.protobuf.message import Message

from selfie.rpc.entrances import Entrance, HttpApi, told_where
from selfie.rpc.errors import too_long
from selfie.rpc.http_calls import Admitting, endpoints
from selfie.rpc.settings import ServerSettings
from selfie.rpc.tls import renewing_context

_JSON = b"application/json"
_MOST_VALUES = 65_536
"""Of one message in JSON, as it is decoded in the event loop, a microsecond or two each."""
_HEARD_OUT_S = 5
"""Seconds that whoever is to be refused may go on sending before being told so."""


class HttpServer:
    """Serves until it is stopped; answers as unready for as long as ``is_ready`` says so."""

    def __init__(
        self, settings: ServerSettings, entrance: Entrance, api: HttpApi, is_ready: Callable[[], bool]
    ) -> None:
        self._address = (settings.host, settings.http_port or 0)
        methods = _Methods(entrance, api, read_max_bytes=settings.max_message_bytes)
        tls = entrance.tls
        config = uvicorn.Config(
            _Site(methods, api.description, is_ready, most_bytes=settings.max_message_bytes),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Who calls is told by the connection, and not by a header that anybody can write.
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            ssl_context_factory=None if tls is None else lambda *_: renewing_context(tls),
        )
        self._server = _Uvicorn(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listens, and returns the port; InvalidInput if it is taken."""
        host, port = self._address
        with told_where(f"{host}:{port}"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family)
        listener.setblocking(False)
        self._serving = asyncio.create_task(self._server.serve([listener]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.01)
        if self._serving.done():
            self._serving.result()
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Takes no new calls, and finishes those in flight within the time to drain."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process, which has more to end than this."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _JsonCodec:
    """JSON in which every field stands, also at its default, and none that the message does not have."""

    def name(self) -> str:
        return "json"

    def encode(self, message: Message) -> bytes:
        text = json_format.MessageToJson(message, always_print_fields_with_no_presence=True, indent=None)
        return text.encode()

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        if data.count(b",") > _MOST_VALUES:
            message = f"request: has more than {_MOST_VALUES} values; send so many token ids over gRPC"
            raise ConnectError(Code.INVALID_ARGUMENT, message)
        try:
            return json_format.Parse(bytes(data), message_class())
        except Exception as error:
            # Names that are no Unicode make protobuf fail in ways of its own, and are quoted back.
            problem = str(error).encode(errors="replace").decode()
            message = f"request: {problem}; /openapi.json says what it may be"
            raise ConnectError(Code.INVALID_ARGUMENT, message) from error


class _Methods(ConnectASGIApplication[HttpApi]):
    """The methods of all servicers as one application."""

    def __init__(self, entrance: Entrance, api: HttpApi, *, read_max_bytes: int) -> None:
        def found(api: HttpApi) -> Mapping[str, Any]:
            return {
                path: endpoint
                for service, servicer in api.servicers
                for path, endpoint in endpoints(entrance, service, servicer).items()
            }

        super().__init__(
            service=api,
            endpoints=found,
            interceptors=[Admitting(entrance)],
            read_max_bytes=read_max_bytes,
            codecs=[google_protobuf_binary_codec(), _JsonCodec()],
        )

    @property
    def path(self) -> str:
        return "/"


class _Site:
    """Health and the description; everything else is a method."""

    def __init__(
        self,
        methods: _Methods,
        description: bytes | None,
        is_ready: Callable[[], bool],
        *,
        most_bytes: int,
    ) -> None:
        self._most_bytes = most_bytes
        self._methods = methods
        self._description = description
        self._is_ready = is_ready

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        exchange = _HeardOut(receive, send, most_bytes=2 * self._most_bytes)
        receive, send = exchange.receive, exchange.send
        match scope["method"], scope["path"]:
            case "GET", "/healthz":
                await _send(send, 200, _told("alive"))
            case "GET", "/readyz":
                ready = self._is_ready()
                await _send(send, 200 if ready else 503, _told("ready" if ready else "not ready"))
            case "GET", "/openapi.json" if self._description is not None:
                await _send(send, 200, self._description)
            case _ if not _is_text(scope["headers"]):
                await _send(send, 400, _told("a header is not UTF-8"))
            case _ if (size := _declared_bytes(scope["headers"])) > self._most_bytes:
                await _send(send, 400, _too_long(size, self._most_bytes))
            case _:
                await self._methods(scope, receive, send)


class _HeardOut:
    """A request whose body is read before it is answered, also where the answer does not hang on it.

    Who is still sending when the connection is closed gets a reset in place of the answer. But
    nobody is listened to for ever: ``most_bytes`` and some seconds are the end of it.
    """

    def __init__(self, receive: Any, send: Any, *, most_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._left = most_bytes
        self._more = True

    async def receive(self) -> Any:
        message = await self._receive()
        self._left -= len(message.get("body", b"")) or 1
        self._more = message.get("more_body", False)
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARD_OUT_S):
                    while self._more and self._left > 0:
                        await self.receive()
        await self._send(message)


def _told(status: str) -> bytes:
    return json.dumps({"status": status}).encode()


def _too_long(size: int, most: int) -> bytes:
    error = too_long(f"has {size} bytes, and {most} at most are read")
    return json.dumps({"code": Code.INVALID_ARGUMENT.value, "message": str(error)}).encode()


def _declared_bytes(headers: list[tuple[bytes, bytes]]) -> int:
    return max((int(value) for name, value in headers if name == b"content-length"), default=0)


def _is_text(headers: list[tuple[bytes, bytes]]) -> bool:
    try:
        for name, value in headers:
            name.decode()
            value.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _send(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", _JSON), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
