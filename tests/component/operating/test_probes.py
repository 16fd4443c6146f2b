"""The probes and metrics over HTTP."""

from dataclasses import replace

import aiohttp

from selfie_operator.health import Vitals
from selfie_operator.probes import serve_probes

WELL = Vitals(
    watches={"jobs": 1}, refusals={}, reached=1, stuck=0, look=120, lag=0, synced=True, lost_lease=False
)


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_a_healthy_process_answers_both_probes():
    async with serve_probes("127.0.0.1", 0, lambda: WELL) as port:
        assert await ask(port, "/healthz") == (200, "ok\n")
        assert await ask(port, "/readyz") == (200, "ok\n")


async def test_a_dead_watch_fails_liveness_and_says_which():
    dead = replace(WELL, watches={"jobs": 200})
    async with serve_probes("127.0.0.1", 0, lambda: dead) as port:
        assert await ask(port, "/healthz") == (500, "watch of jobs silent for 200 s\n")


async def test_what_the_operator_tells_of_itself_is_there():
    async with serve_probes("127.0.0.1", 0, lambda: WELL) as port:
        _, text = await ask(port, "/metrics")
    for name in (
        "reconcile_total",
        "reconcile_duration_seconds",
        "queue_depth",
        "queue_oldest_seconds",
        "retries_total",
        "api_requests_total",
        "is_leader",
        "watch_last_event_timestamp_seconds",
    ):
        assert f"# HELP selfie_operator_{name} " in text
