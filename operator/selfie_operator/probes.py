"""HTTP for the kubelet and Prometheus: /healthz, /readyz and /metrics."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from selfie_operator.health import Vitals, ailments, obstacles
from selfie_operator.metrics import LOOP_LAG

_BEAT_S = 1.0
_BEATS = 30


class Heartbeat:
    """Measures how late the event loop is: a loop that is held up can neither watch nor renew."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque([0.0], maxlen=_BEATS)

    @property
    def worst_s(self) -> float:
        """Most that a timer was late in the last half minute, in seconds."""
        return max(self._lags)

    async def run(self) -> None:
        """Never returns."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            lag = max(loop.time() - due, 0.0)
            self._lags.append(lag)
            LOOP_LAG.set(lag)


@asynccontextmanager
async def serve_probes(host: str, port: int, vitals: Callable[[], Vitals]) -> AsyncIterator[int]:
    """Answers while inside; yields the port that was really taken."""

    def told(judge: Callable[[Vitals], list[str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            found = judge(vitals())
            return web.Response(text="\n".join(found or ["ok"]) + "\n", status=500 if found else 200)

        return answer

    application = web.Application()
    application.router.add_get("/healthz", told(ailments))
    application.router.add_get("/readyz", told(obstacles))
    application.router.add_get("/metrics", _metrics)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
