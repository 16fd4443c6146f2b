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
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from selfie.errors import InvalidInput, SelfieError
from selfie.processes.births import Born, process_birth
from selfie.rpc.entrances import NO_API, Entrance, HttpApi, told_where
from selfie.rpc.logs import configure
from selfie.rpc.settings import ServerSettings
from selfie.rpc.tls import TlsFiles, server_credentials
from selfie.tracing.exporting import server_interceptors, traced

if TYPE_CHECKING:
    from selfie.rpc.http_server import HttpServer

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
    api: HttpApi = NO_API
    load: Callable[[], Awaitable[None]] = _nothing
    close: Callable[[], Awaitable[None]] = _nothing


class RunningServer:
    """A server that listens; the ports are those really taken, 0 for what is not served."""

    def __init__(self, settings: ServerSettings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._entrance = Entrance.of(settings)
        self._server = build_server(settings, self._entrance)
        self._plain: grpc.aio.Server | None = None
        self._http: HttpServer | None = None
        self._health = health.aio.HealthServicer()
        self._ready = False
        self.port = 0
        self.http_port = 0
        self.health_port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Listens, then loads; health tells the two apart."""
        service, settings = self._service, self._settings
        service.register(self._server)
        await self._serve_health()
        if settings.reflection:
            names = (*service.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.port = listen(self._server, f"{settings.host}:{settings.port}", self._entrance.tls)
        await self._server.start()
        await self._serve_http()
        await service.load()
        for name in service.names:
            await self._health.set(name, SERVING)
        self._ready = True

    def serve_metrics(self) -> None:
        """Opens /metrics of this process."""
        with told_where(f"{self._settings.host}:{self._settings.metrics_port}"):
            http, _ = start_http_server(self._settings.metrics_port, self._settings.host)
        self.metrics_port = http.server_port

    async def stop(self) -> None:
        """Refuses new calls, finishes those in flight, and closes the service."""
        self._ready = False
        await self._health.enter_graceful_shutdown()
        ending = [self._server.stop(self._settings.drain_seconds)]
        if self._http is not None:
            ending.append(self._http.stop())
        await asyncio.gather(*ending)
        await self._service.close()
        if self._plain is not None:
            await self._plain.stop(None)

    async def _serve_health(self) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._health.set("", SERVING)
        for name in self._service.names:
            await self._health.set(name, NOT_SERVING)
        if self._settings.health_port is not None:
            self._plain = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._plain)
            self.health_port = listen(self._plain, f"{self._settings.host}:{self._settings.health_port}")
            await self._plain.start()

    async def _serve_http(self) -> None:
        if self._settings.http_port is None:
            return
        try:
            # What serves HTTP is installed where that is wanted.
            from selfie.rpc.http_server import HttpServer
        except ImportError as error:
            remedy = "install selfie[http], or leave the flag out"
            raise InvalidInput("--http-port", f"is given without what it takes: {error}", remedy) from error

        self._http = HttpServer(self._settings, self._entrance, self._service.api, lambda: self._ready)
        self.http_port = await self._http.start()


def listen(server: grpc.aio.Server, address: str, tls: TlsFiles | None = None) -> int:
    """Binds a server and returns the port; with ``tls`` to those alone who speak it."""
    with told_where(address):
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, server_credentials(tls))


def build_server(settings: ServerSettings, entrance: Entrance) -> grpc.aio.Server:
    """A server with the guards and limits that every service has, not yet listening."""
    return grpc.aio.server(
        interceptors=[*server_interceptors(), *entrance.interceptors],
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            ("grpc.so_reuseport", 0),
        ],
    )


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
    ports = {"port": server.port, "metrics_port": server.metrics_port}
    if server.http_port:
        ports["http_port"] = server.http_port
    log.info("serving", **ports, name=service.names[0])
    if settings.port_file is not None:
        write_ports(settings.port_file, server.port, server.metrics_port, server.http_port)


def write_ports(path: Path, port: int, metrics_port: int, http_port: int = 0) -> None:
    """Announces the ports; the file is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"port": port, "metricsPort": metrics_port, "httpPort": http_port}))
    partial.replace(path)


def run(name: str, settings: ServerSettings, build: Callable[[], Awaitable[Service]]) -> None:
    """Runs the service of that name until SIGTERM; ``build`` is called inside the event loop."""
    configure(name, settings.log_level)

    async def main() -> None:
        try:
            with traced(name, settings):
                await _serve(settings, await build())
        except SelfieError as error:
            log.critical("cannot serve", error=str(error))
            raise SystemExit(1) from error

    asyncio.run(main())
