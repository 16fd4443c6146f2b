"""One address by which Prometheus finds all processes of a run on this machine.

Services of a local run come and go with its steps, each on a port of its own. `/targets` lists those
that are there, in the form of Prometheus' HTTP service discovery; `/metrics` has the run's figures.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from selfie.errors import InvalidInput
from selfie.monitoring.boards import RunBoard

COMPONENT = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
"""A process goes by the label that its pod would have: one relabeling serves here and on a cluster."""

LAST_READING_S: Final = 60.0
"""How long an ended run waits for whoever has read its figures to read the last ones."""

Addresses = Callable[[], Mapping[str, str]]
"""Gives where each process answers /metrics, by the name of its component."""


class Page:
    """What is served; ``port`` is the one that was really taken."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.port = 0
        self._clock = clock
        self._read_at: float | None = None

    def is_read(self) -> None:
        """Somebody begins to read it."""
        self._read_at = self._clock()

    async def read_once_more(self, stopped: asyncio.Event) -> None:
        """Waits until the last figures are read too, if anybody reads, and nobody says that he has enough."""
        told_at = self._clock()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_READING_S):
                while self._read_at is not None and self._read_at < told_at and not stopped.is_set():
                    await asyncio.sleep(0.1)


@contextmanager
def served(board: RunBoard, addresses: Addresses, port: int, *, host: str = "127.0.0.1") -> Iterator[Page]:
    """Answers while inside."""
    registry = CollectorRegistry()
    registry.register(board)
    metrics, page = make_wsgi_app(registry), Page()

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/targets":
            start("200 OK", [("Content-Type", "application/json")])
            own = f"{host}:{environ['SERVER_PORT']}"
            return [json.dumps(targets({"run": own, **addresses()})).encode()]
        page.is_read()
        answered: Iterable[bytes] = metrics(environ, start)
        return answered

    try:
        server = make_server(host, port, answer, WSGIServer, _Silent)
    except OSError as error:
        problem = f"{host}:{port} can't be listened on: {error}"
        raise InvalidInput("--metrics-port", problem, "choose a port that is free; 0 takes any") from error
    page.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield page
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def targets(addresses: Mapping[str, str]) -> list[dict[str, Any]]:
    """The processes as Prometheus wants to be told of them."""
    return [
        {"targets": [address], "labels": {COMPONENT: name}} for name, address in sorted(addresses.items())
    ]


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the name is the base class's
        """Says nothing: the terminal shows the run."""
