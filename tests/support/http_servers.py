"""HTTP servers for tests, on ports of their own, which can be stopped and started again where they were."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

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
