"""The page of a kubelet from which the API server takes containers' logs."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web


@dataclass(frozen=True)
class LogServer:
    """A server on a port of loopback, until it is closed."""

    port: int
    close: Callable[[], Awaitable[None]]


async def serve_logs(
    read: Callable[[str, str], list[str] | None], *, certificate: Path, key: Path
) -> LogServer:
    """Serves the lines that ``read(namespace, pod)`` knows; all containers of a pod share them."""

    async def answer(request: web.Request) -> web.Response:
        lines = read(request.match_info["namespace"], request.match_info["pod"])
        if lines is None:
            raise web.HTTPNotFound(text="there is no such pod on this node")
        wanted = int(request.query.get("tailLines", len(lines)))
        kept = lines[len(lines) - wanted :] if wanted < len(lines) else lines
        return web.Response(text="".join(f"{line}\n" for line in kept))

    application = web.Application()
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port: int = runner.addresses[0][1]
    return LogServer(port, runner.cleanup)
