"""Serves one service in one process: health, reflection, metrics, drain on SIGTERM.

The life of a process: it listens at once and is alive (health ``""`` is SERVING), loads, is
ready (health of its service is SERVING), gets SIGTERM, is no longer ready, finishes the calls
in flight within ``drain_seconds``, and exits 0.
"""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from selfie.processes.births import Born, process_birth
from selfie.rpc.interceptors import GuardInterceptor
from selfie.rpc.logs import configure
from selfie.rpc.settings import ServerSettings

log = structlog.get_logger()

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Service:
    """One gRPC service: its full names, how it joins a server, how it loads and ends.

    ``names[0]`` is the one whose health tells that the process is ready.
    """

    names: tuple[str, ...]
    register: Callable[[grpc.aio.Server], None]
    load: Callable[[], Awaitable[None]] = _nothing
    close: Callable[[], Awaitable[None]] = _nothing


class RunningServer:
    """A server that listens; ``port`` and ``metrics_port`` are those really taken."""

    def __init__(self, settings: ServerSettings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._server = build_server(settings)
        self._health = health.aio.HealthServicer()
        self.port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Listens, then loads; health tells the two apart."""
        service, settings = self._service, self._settings
        service.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._health.set("", SERVING)
        for name in service.names:
            await self._health.set(name, NOT_SERVING)
        if settings.reflection:
            names = (*service.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.port = self._server.add_insecure_port(f"{settings.host}:{settings.port}")
        await self._server.start()
        await service.load()
        for name in service.names:
            await self._health.set(name, SERVING)

    def serve_metrics(self) -> None:
        """Opens /metrics of this process."""
        http, _ = start_http_server(self._settings.metrics_port, self._settings.host)
        self.metrics_port = http.server_port

    async def stop(self) -> None:
        """Refuses new calls, finishes those in flight, and closes the service."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._settings.drain_seconds)
        await self._service.close()


def build_server(settings: ServerSettings) -> grpc.aio.Server:
    """A server with the guards and limits that every service has, not yet listening."""
    return grpc.aio.server(
        interceptors=[*_gates(settings), GuardInterceptor(settings.max_call_seconds)],
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            ("grpc.so_reuseport", 0),
        ],
    )


def _gates(settings: ServerSettings) -> list[grpc.aio.ServerInterceptor]:
    """What callers pass first, if they are asked who they are."""
    if not settings.callers and settings.api_tokens is None:
        return []
    # What verifies tokens is installed where there are any: on a cluster.
    from selfie.rpc.callers import CallerInterceptor, admission_of

    admission = admission_of(settings)
    return [] if admission is None else [CallerInterceptor(admission)]


async def _serve(settings: ServerSettings, service: Service) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    server = RunningServer(settings, service)
    server.serve_metrics()
    starting = asyncio.create_task(_start_and_announce(server, settings, service))
    waiting = asyncio.create_task(ended.wait())
    orphaned = asyncio.create_task(_end_with_parent(settings.parent_pid, ended))
    done, _ = await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if starting in done:
        starting.result()
        await waiting
    starting.cancel()
    orphaned.cancel()
    log.info("draining", seconds=settings.drain_seconds)
    await server.stop()


async def _end_with_parent(parent_pid: int | None, ended: asyncio.Event) -> None:
    if parent_pid is None:
        return
    parent = Born(parent_pid, process_birth(parent_pid) or "gone")
    while parent.is_alive:
        await asyncio.sleep(0.5)
    ended.set()


async def _start_and_announce(server: RunningServer, settings: ServerSettings, service: Service) -> None:
    await server.start()
    log.info("serving", port=server.port, metrics_port=server.metrics_port, name=service.names[0])
    if settings.port_file is not None:
        write_ports(settings.port_file, server.port, server.metrics_port)


def write_ports(path: Path, port: int, metrics_port: int) -> None:
    """Announces the ports; the file is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"port": port, "metricsPort": metrics_port}))
    partial.replace(path)


def run(settings: ServerSettings, build: Callable[[], Awaitable[Service]]) -> None:
    """Runs the service until SIGTERM; ``build`` is called inside the event loop."""

    async def main() -> None:
        service = await build()
        configure(service.names[0], settings.log_level)
        await _serve(settings, service)

    asyncio.run(main())
