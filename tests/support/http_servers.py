"""HTTP servers for tests, on ports of their own, which can be stopped and started again where they were."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web


class HttpServer:
    """One application on one port of the loopback; ``restart`` may bring up another in its place."""

    def __init__(self, application: Callable[[], web.Application]) -> None:
        self._application = application
        self._runner: web.AppRunner | None = None
        self.port = _free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._runner = web.AppRunner(
            self._application(), handler_cancellation=True, shutdown_timeout=0.01, access_log=None
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self, application: Callable[[], web.Application] | None = None) -> None:
        await self.stop()
        self._application = application or self._application
        await self.start()


@asynccontextmanager
async def serving(application: Callable[[], web.Application]) -> AsyncIterator[HttpServer]:
    server = HttpServer(application)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving_beside(application: Callable[[], web.Application]) -> Iterator[HttpServer]:
    """A server in a thread of its own, for those who ask it without an event loop."""
    server, loop = HttpServer(application), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield server
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
