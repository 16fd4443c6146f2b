"""One address by which Prometheus finds all processes of a run on this machine.

Services of a local run come and go with its steps, each on a port of its own. `/targets` lists those
that are there, in the form of Prometheus' HTTP service discovery; `/metrics` has the run's figures.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from selfie.errors import InvalidInput
from selfie.monitoring.boards import RunBoard

COMPONENT = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
"""A process goes by the label that its pod would have: one relabeling serves here and on a cluster."""

Addresses = Callable[[], Mapping[str, str]]
"""Gives where each process answers /metrics, by the name of its component."""


@contextmanager
def served(board: RunBoard, addresses: Addresses, port: int, *, host: str = "127.0.0.1") -> Iterator[int]:
    """Answers while inside; yields the port that was really taken."""
    registry = CollectorRegistry()
    registry.register(board)
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/targets":
            answered: Iterable[bytes] = metrics(environ, start)
            return answered
        start("200 OK", [("Content-Type", "application/json")])
        own = f"{host}:{environ['SERVER_PORT']}"
        return [json.dumps(targets({"run": own, **addresses()})).encode()]

    try:
        server = make_server(host, port, answer, WSGIServer, _Silent)
    except OSError as error:
        problem = f"{host}:{port} can't be listened on: {error}"
        raise InvalidInput("--metrics-port", problem, "choose a port that is free; 0 takes any") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
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
