"""A server that speaks HTTP as an API server does, and says what the test wants."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from selfie.kube.client import ClientSettings, KubeApi, connect
from selfie.kube.transport import Access

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """``asked`` are the requests so far, with their bodies; ``answer`` makes the next answers."""

    url: str
    kubeconfig: Path
    asked: list[tuple[web.Request, bytes]] = field(default_factory=list)
    answer: Handler = field(default=lambda request: says({}))

    def client(self, **changes: Any) -> AbstractAsyncContextManager[KubeApi]:
        """An `Api` that asks this server, with times out of seconds."""
        hooks = {name: changes.pop(name) for name in ("on_answer", "before_write") if name in changes}
        settings = ClientSettings(access=Access(kubeconfig=self.kubeconfig), request_s=5, silence_s=5)
        return connect(replace(settings, **changes), **hooks)


async def says(body: object, code: int = 200, **headers: str) -> web.Response:
    """An answer in JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return web.Response(body=data, status=code, headers=headers, content_type="application/json")


async def refuses(code: int, reason: str, message: str = "no", **details: object) -> web.Response:
    """An answer with a ``Status``."""
    return await says({"kind": "Status", "reason": reason, "message": message, "details": details}, code)


@asynccontextmanager
async def serving(tmp_path: Path, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server that listens on a free port of loopback."""

    async def handle(request: web.Request) -> web.StreamResponse:
        server.asked.append((request, await request.read()))
        return await server.answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    host, port = runner.addresses[0][:2]
    url = f"{'https' if tls else 'http'}://{host}:{port}"
    server = Server(url, kubeconfig_at(tmp_path, url))
    try:
        yield server
    finally:
        await runner.cleanup()


def kubeconfig_at(folder: Path, url: str) -> Path:
    """A kubeconfig that leads there with the token ``first``."""
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "first"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(config))
    return path
