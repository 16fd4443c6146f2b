"""Services as child processes: which should run, which do, and what they last said.

`Processes.reconcile` is told what should run now and makes it so; it never waits. What runs is
read off the processes and the port files that they write, so a crash is seen the next time
somebody looks.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import structlog

from selfie.rpc.channels import connect, is_ready

log = structlog.get_logger()

# Without these glibc returns every large temporary to the kernel, and page faults dominate.
# A busy machine takes a processor away now and then; threads that spin for it make that worse.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 34),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 26),
    "MALLOC_ARENA_MAX": "4",
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
LOG_TAIL_LINES = 12


@dataclass(frozen=True)
class Launch:
    """How to start a service; two equal launches are the same process."""

    module: str
    grpc_service: str
    arguments: tuple[str, ...]


@dataclass
class ServiceProcess:
    """One child: its process, where it listens, and the channel to it once known."""

    name: str
    launch: Launch
    process: subprocess.Popen[bytes]
    port_file: Path
    log_file: Path
    channel: grpc.aio.Channel | None = field(default=None)
    stop_by: float = field(default=0.0)

    def address(self) -> str | None:
        """Where it listens, once it has said so."""
        if not self.port_file.exists():
            return None
        return f"127.0.0.1:{json.loads(self.port_file.read_text())['port']}"

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


class Processes:
    """All service processes of one run on this machine.

    Logs and port files go below ``directory``. A service that ends by itself is started again,
    at most ``max_restarts`` times for one launch; one that is to end is killed after ``grace_s`` seconds.
    """

    def __init__(self, directory: Path, *, max_restarts: int = 3, grace_s: float = 20) -> None:
        self._directory = directory
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
        self._stopping = [child for child in self._stopping if child.process.poll() is None]
        for late in self._stopping:
            if time.monotonic() > late.stop_by:
                late.process.kill()
        if self._stopping:
            return
        for name, launch in wanted.items():
            child = self._running.get(name)
            if child is None or (child.process.poll() is not None and self._may_restart(name, launch)):
                await self._close_channel(name)
                self._start(name, launch)

    def names(self) -> list[str]:
        """Services that have a process, stopping ones among them."""
        stopping = [child for child in self._stopping if child.process.poll() is None]
        return sorted({*self._running, *(child.name for child in stopping)})

    async def channel(self, name: str) -> grpc.aio.Channel | None:
        """A channel to the service, or None unless it says that it is ready."""
        child = self._running.get(name)
        if child is None or child.process.poll() is not None:
            return None
        if child.channel is None:
            if (address := child.address()) is None:
                return None
            child.channel = connect(address)
        return child.channel if await is_ready(child.channel, child.launch.grpc_service) else None

    def failure(self, name: str) -> str | None:
        """Why a wanted service is given up on, with its log's last lines; None while it is not."""
        child = self._running.get(name)
        if child is None or child.process.poll() is None:
            return None
        if self._restarts.get((name, child.launch), 0) < self._max_restarts:
            return None
        return f"{name} ended {self._max_restarts + 1} times; log {child.log_file}:\n{child.log_tail()}"

    async def close(self) -> None:
        """Ends all of them: SIGTERM, and SIGKILL when their time is over."""
        for name in list(self._running):
            await self._stop(name)
        try:
            async with asyncio.timeout(self._grace_s):
                while any(child.process.poll() is None for child in self._stopping):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            for child in self._stopping:
                child.process.kill()
                child.process.wait()

    def _start(self, name: str, launch: Launch) -> None:
        port_file = self._directory / f"{name}.port.json"
        port_file.unlink(missing_ok=True)
        log_file = self._directory / f"{name}.log"
        own = ("--port-file", str(port_file), "--parent-pid", str(os.getpid()))
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", launch.module, *launch.arguments, *own],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **ALLOCATOR, **THREADS, **OFFLINE},
                # Ctrl-C is for this process alone; it tells the others in order.
                start_new_session=True,
            )
        log.debug("started", process=name, pid=process.pid)
        self._running[name] = ServiceProcess(name, launch, process, port_file, log_file)

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
        if child.process.poll() is None:
            child.process.terminate()
        child.stop_by = time.monotonic() + self._grace_s
        self._stopping.append(child)

    async def _close_channel(self, name: str) -> None:
        child = self._running.get(name)
        if child is not None and child.channel is not None:
            await child.channel.close()
            child.channel = None
