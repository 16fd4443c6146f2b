"""The few calls by which a fake node speaks to an API server; they outlast its restarts.

Not Selfie's own client, which is among the things that are tested with this node.
"""

import asyncio
import json
import socket
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp

Object: TypeAlias = dict[str, Any]
_PAUSE_S: Final = 0.2
_AWAY: Final = (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError)
_MERGE: Final = "application/strategic-merge-patch+json"
# An API server that is starting refuses for want of its own roles; one that is stopping is busy.
_LATER: Final = frozenset({403, 429, 500, 503, 504})


class Gone(Exception):
    """The object is no longer there, or another of its name is."""


class NodeApi:
    """One API server as its administrator sees it."""

    def __init__(self, server: str, *, authority: Path, certificate: Path, key: Path) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        context.load_cert_chain(certificate, key)
        self._server = server
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        connector = aiohttp.TCPConnector(ssl=context, limit=64, socket_factory=self._socket)
        self._session = aiohttp.ClientSession(connector=connector)

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()
        # A goodbye of TLS may wait for a server that is paused or dead, and would outlast the event loop.
        while left := [open_one for open_one in self._sockets if open_one.fileno() >= 0]:
            for open_one in left:
                with suppress(OSError):
                    open_one.shutdown(socket.SHUT_RDWR)
            await asyncio.sleep(0.01)

    def _socket(self, place: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = place
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made

    async def get(self, path: str) -> Object:
        """The object or list at ``path``."""
        return await self._ask("GET", path)

    async def create(self, path: str, wanted: Object) -> None:
        """Creates it. That it is there already is as good, since a lost answer looks the same."""
        await self._ask("POST", path, wanted, fine=(409,))

    async def merge(self, path: str, change: Object) -> None:
        """A strategic merge patch; `Gone` if the object is, or its uid is another."""
        await self._ask("PATCH", path, change)

    async def delete(self, path: str, uid: str) -> None:
        """Removes it now."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self._ask("DELETE", path, options)

    async def changes(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        """All objects as they are, as ``("LISTED", list)``, then each change; again after every break."""
        while True:
            listed = await self.get(path)
            yield "LISTED", listed
            try:
                async for change in self._watch(path, listed["metadata"]["resourceVersion"]):
                    yield change
            except _AWAY:
                await asyncio.sleep(_PAUSE_S)

    async def _watch(self, path: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        asked = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
        silence = aiohttp.ClientTimeout(total=None, sock_read=330)
        async with self._session.get(f"{self._server}{path}", params=asked, timeout=silence) as answer:
            if answer.status != 200:
                await asyncio.sleep(_PAUSE_S)
                return
            pending = b""
            async for piece in answer.content.iter_any():
                *lines, pending = (pending + piece).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    yield event["type"], event["object"]

    async def _ask(
        self, method: str, path: str, body: Object | None = None, *, fine: tuple[int, ...] = ()
    ) -> Object:
        headers = {"Content-Type": _MERGE if method == "PATCH" else "application/json"}
        while True:
            try:
                async with self._session.request(
                    method, f"{self._server}{path}", data=json.dumps(body) if body else None, headers=headers
                ) as answer:
                    text = await answer.text()
                    if answer.status < 300 or answer.status in fine:
                        return dict(json.loads(text))
                    if answer.status in {404, 409}:
                        raise Gone(text)
                    if answer.status not in _LATER:
                        raise RuntimeError(f"{method} {path}: {answer.status} {text}")
            except _AWAY:
                pass
            await asyncio.sleep(_PAUSE_S)
