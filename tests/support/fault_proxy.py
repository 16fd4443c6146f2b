"""A proxy between one operator and the API server, which goes wrong as a test wants it to.

Plain HTTP on loopback in front, TLS behind; who asks is seen by the API server, since the token is
passed on. Sieve's three patterns are made with it: a crash between two writes, stale reads, and
changes that are never seen.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from request_faults import WRITES, Break, Delay, Fault, LoseReply, Passing, Refuse, Stall, Twice

_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "te", "upgrade"}

_CONNECT_S = 5.0

Hook = Callable[[Passing], Awaitable[bool]]
"""Says whether the connection breaks here."""

Changes = Callable[[str, bytes], Iterable[bytes]]
"""Of a line of a watch of that resource, the lines that are passed on."""


async def _nothing(passing: Passing) -> bool:
    return False


def _no_fault(passing: Passing) -> Fault | None:
    return None


def _unchanged(resource: str, line: bytes) -> Iterable[bytes]:
    return (line,)


@dataclass
class FaultProxy:
    """``before`` and ``after`` are called around the effect of each request; all may be replaced at any time.

    ``held`` are resources whose watches tell nothing as long as they are in it: what happens
    meanwhile comes when they are taken out again.
    """

    server: str
    context: ssl.SSLContext
    fault: Callable[[Passing], Fault | None] = _no_fault
    before: Hook = _nothing
    after: Hook = _nothing
    changes: Changes = _unchanged
    rewrite: Callable[[Passing], bytes] = lambda passing: passing.body
    """The body that is sent instead."""
    held: set[str] = field(default_factory=set)
    silent: bool = False
    """No watch tells anything, bookmarks included, and what would have been told is lost."""
    url: str = ""
    writes: int = 0
    passed: list[tuple[float, Passing, int]] = field(default_factory=list)
    """Time, request and code of each answer; 0 where there was none."""

    def __post_init__(self) -> None:
        self._streams: list[tuple[str, web.Request, web.StreamResponse]] = []

    def end_watches(self) -> None:
        """Breaks all watches, as a restarted server does."""
        for _, request, _ in list(self._streams):
            if request.transport is not None:
                request.transport.abort()

    async def tell(self, resource: str, line: bytes) -> None:
        """Has the watches of the resource say this, whether or not it is so."""
        for told, _, stream in list(self._streams):
            if told == resource and stream.prepared:
                with suppress(ConnectionError, RuntimeError):
                    await stream.write(line)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request from its arrival to its end."""
        passing = self._passing(request, await request.read())
        if passing.verb == "watch":
            return await self._watch(request, passing)
        fault = self.fault(passing)
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Refuse):
            self._note(passing, fault.code)
            return refused(fault)
        if isinstance(fault, Stall):
            await asyncio.Event().wait()
        if isinstance(fault, Break):
            return self._broken(request, passing)
        if await self.before(passing):
            return self._broken(request, passing)
        answer = await self._forward(request, passing)
        if isinstance(fault, Twice):
            answer = await self._forward(request, passing)
        broken = await self.after(passing)
        if broken or isinstance(fault, LoseReply) or answer is None:
            return self._broken(request, passing)
        self._note(passing, answer.status)
        return answer

    def _passing(self, request: web.Request, body: bytes) -> Passing:
        resource, name = _named(request.path)
        verb = WRITES.get(request.method) or ("get" if name else "list")
        if request.query.get("watch") == "true":
            verb = "watch"
        number = 0
        if verb in WRITES.values() and resource != "leases":
            self.writes += 1
            number = self.writes
        return Passing(verb, resource, request.path, number, body)

    async def _forward(self, request: web.Request, passing: Passing) -> web.Response | None:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        try:
            async with self._session.request(
                request.method,
                f"{self.server}{request.raw_path}",
                headers=headers,
                data=self.rewrite(passing),
            ) as answer:
                body = await answer.read()
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
                return web.Response(status=answer.status, body=body, headers=kept)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def _watch(self, request: web.Request, passing: Passing) -> web.StreamResponse:
        fault = self.fault(passing)
        if isinstance(fault, Refuse):
            return refused(fault)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers["Accept-Encoding"] = "identity"
        told = web.StreamResponse(headers={"Content-Type": "application/json"})
        entry = (passing.resource, request, told)
        self._streams.append(entry)
        try:
            async with self._session.get(f"{self.server}{request.raw_path}", headers=headers) as answer:
                if answer.status != 200:
                    return web.Response(status=answer.status, body=await answer.read())
                await told.prepare(request)
                while line := await answer.content.readline():
                    while passing.resource in self.held:
                        await asyncio.sleep(0.05)
                    if not self.silent:
                        for sent in self.changes(passing.resource, line):
                            await told.write(sent)
        except (aiohttp.ClientError, ConnectionError, TimeoutError, OSError):
            return self._broken(request, passing)
        finally:
            self._streams.remove(entry)
        return told

    def _broken(self, request: web.Request, passing: Passing) -> web.Response:
        self._note(passing, 0)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)

    def _note(self, passing: Passing, code: int) -> None:
        self.passed.append((asyncio.get_running_loop().time(), passing, code))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FaultProxy"]:
        """Listens on a free port of loopback, which `url` names."""
        connector = aiohttp.TCPConnector(ssl=self.context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
        application = web.Application(client_max_size=8 * 2**20)
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, read_bufsize=8 * 2**20
        ) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            try:
                yield self
            finally:
                with suppress(Exception):
                    await runner.cleanup()


def refused(fault: Refuse) -> web.Response:
    """The answer of an API server that says no."""
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": fault.reason,
        "message": f"the test says {fault.reason}",
        "code": fault.code,
    }
    headers = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"}
    return web.Response(
        status=fault.code, body=json.dumps(status).encode(), headers=headers, content_type="application/json"
    )


def _named(path: str) -> tuple[str, str]:
    """Resource with its subresource, and name, of a path of the API: the kinds here are all in namespaces."""
    parts = path.strip("/").split("/")
    rest = parts[2 if parts[0] == "api" else 3 :]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource, name, subresource = (*rest, "", "", "")[:3]
    return (f"{resource}/{subresource}" if subresource else resource), name
