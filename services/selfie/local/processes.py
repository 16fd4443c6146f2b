"""Services as child processes: which should run, which do, and what they last said.

`Processes.reconcile` is told what should run now and makes it so; it never waits. What runs is
read off the processes and the port files that they write, so a crash is seen the next time
somebody looks.
"""

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import structlog

from selfie.processes.births import Born
from selfie.processes.spawning import Interpreter, Order, Spawner
from selfie.rpc.channels import connect, is_ready

log = structlog.get_logger()

ENVIRONMENT = {
    # Without these glibc returns every large temporary to the kernel, and page faults dominate.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 34),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 26),
    "MALLOC_ARENA_MAX": "4",
    # A busy machine takes a processor away now and then; threads that spin for it make that worse.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    # Progress bars are made for terminals; these are read when the libraries are imported.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""What every service of a run on this machine is started with."""

LOG_TAIL_LINES = 12


@dataclass(frozen=True)
class Launch:
    """How to start a service; two equal launches are the same process.

    ``slow``: it imports what takes long, and is started by the nursery where there is one.
    """

    module: str
    grpc_service: str
    arguments: tuple[str, ...]
    slow: bool = False


@dataclass
class ServiceProcess:
    """One child: its process, where it listens, and the channel to it once known."""

    name: str
    launch: Launch
    process: Born
    port_file: Path
    log_file: Path
    channel: grpc.aio.Channel | None = field(default=None)
    stop_by: float = field(default=0.0)

    def address(self) -> str | None:
        """Where it listens, once it has said so."""
        if not self.port_file.exists():
            return None
        return f"127.0.0.1:{json.loads(self.port_file.read_text())['port']}"

    def metrics_address(self) -> str | None:
        """Where it answers /metrics, once it has said so."""
        try:
            return f"127.0.0.1:{json.loads(self.port_file.read_text())['metricsPort']}"
        except FileNotFoundError:
            return None

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


class Processes:
    """All service processes of one run on this machine.

    Logs and port files go below ``directory``. A service that ends by itself is started again,
    at most ``max_restarts`` times for one launch; one that is to end is killed after ``grace_s`` seconds.
    ``nursery`` starts the services that are slow to import.
    """

    def __init__(
        self, directory: Path, *, nursery: Spawner | None = None, max_restarts: int = 3, grace_s: float = 20
    ) -> None:
        self._directory = directory
        self._interpreter = Interpreter(ENVIRONMENT)
        self._nursery = nursery or self._interpreter
        self._grace_s = grace_s
        self._max_restarts = max_restarts
        self._running: dict[str, ServiceProcess] = {}
        self._restarts: dict[tuple[str, Launch], int] = {}
        self._stopping: list[ServiceProcess] = []
        directory.mkdir(parents=True, exist_ok=True)

    async def reconcile(self, wanted: Mapping[str, Launch]) -> None:
        """Stops what is not wanted, and once that is gone starts what is missing."""
        for name, current in list(self._running.items()):
            if wanted.get(name) != current.launch:
                await self._stop(name)
        self._stopping = [child for child in self._stopping if child.process.is_alive]
        for late in self._stopping:
            if time.monotonic() > late.stop_by:
                late.process.send(signal.SIGKILL)
        if self._stopping:
            return
        for name, launch in wanted.items():
            child = self._running.get(name)
            if child is None or (not child.process.is_alive and self._may_restart(name, launch)):
                await self._close_channel(name)
                self._running[name] = await asyncio.to_thread(self._start, name, launch)

    def names(self) -> list[str]:
        """Services that have a process, stopping ones among them."""
        stopping = [child for child in self._stopping if child.process.is_alive]
        return sorted({*self._running, *(child.name for child in stopping)})

    def metrics_addresses(self) -> dict[str, str]:
        """Where each service that listens answers /metrics; may be asked from another thread."""
        found = {name: child.metrics_address() for name, child in list(self._running.items())}
        return {name: address for name, address in found.items() if address is not None}

    async def channel(self, name: str) -> grpc.aio.Channel | None:
        """A channel to the service, or None unless it says that it is ready."""
        child = self._running.get(name)
        if child is None or not child.process.is_alive:
            return None
        if child.channel is None:
            if (address := child.address()) is None:
                return None
            child.channel = connect(address)
        return child.channel if await is_ready(child.channel, child.launch.grpc_service) else None

    def failure(self, name: str) -> str | None:
        """Why a wanted service is given up on, with its log's last lines; None while it is not."""
        child = self._running.get(name)
        if child is None or child.process.is_alive:
            return None
        if self._restarts.get((name, child.launch), 0) < self._max_restarts:
            return None
        return f"{name} ended {self._max_restarts + 1} times; log {child.log_file}:\n{child.log_tail()}"

    async def close(self) -> None:
        """Ends all of them: SIGTERM, and SIGKILL when their time is over."""
        for name in list(self._running):
            await self._stop(name)
        kill_at = time.monotonic() + self._grace_s
        while late := [child for child in self._stopping if child.process.is_alive]:
            for child in late:
                if time.monotonic() > kill_at:
                    child.process.send(signal.SIGKILL)
            await asyncio.sleep(0.05)

    def _start(self, name: str, launch: Launch) -> ServiceProcess:
        for old in self._directory.glob(f"{name}.*.port.json"):
            old.unlink(missing_ok=True)
        # Its own for each start: one that a killed run has left behind may still be about to write its own.
        port_file = self._directory / f"{name}.{uuid.uuid4().hex[:12]}.port.json"
        log_file = self._directory / f"{name}.log"
        spawner = self._nursery if launch.slow else self._interpreter
        own = ("--port-file", str(port_file), "--parent-pid", str(os.getpid()))
        process = spawner.spawn(Order(launch.module, (*launch.arguments, *own), log_file))
        log.debug("started", process=name, pid=process.pid)
        return ServiceProcess(name, launch, process, port_file, log_file)

    def _may_restart(self, name: str, launch: Launch) -> bool:
        count = self._restarts.get((name, launch), 0)
        if count >= self._max_restarts:
            return False
        self._restarts[name, launch] = count + 1
        log.warning("started again after it ended by itself", process=name, restart=count + 1)
        return True

    async def _stop(self, name: str) -> None:
        await self._close_channel(name)
        child = self._running.pop(name)
        child.process.send(signal.SIGTERM)
        child.stop_by = time.monotonic() + self._grace_s
        self._stopping.append(child)

    async def _close_channel(self, name: str) -> None:
        child = self._running.get(name)
        if child is not None and child.channel is not None:
            await child.channel.close()
            child.channel = None
