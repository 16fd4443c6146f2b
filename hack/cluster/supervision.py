"""Processes of a cluster: started, watched, killed and started again."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from selfie.errors import FailedPrecondition, NotFound
from selfie.processes.births import process_birth

START_LIMIT_S: Final = 90.0
_PAUSE_S: Final = 0.05
_LOOK_S: Final = 5.0
_TAIL: Final = 2000


async def _at_once() -> bool:
    return True


@dataclass(frozen=True)
class Component:
    """One program. ``ready`` is asked again and again until it says yes."""

    name: str
    command: Sequence[str]
    ready: Callable[[], Awaitable[bool]] = _at_once


@dataclass
class Supervisor:
    """The parent of all components: they die with it, by the kernel's hand if need be."""

    logs: Path
    _components: dict[str, Component] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    async def reap_orphans(self) -> None:
        """For process 1, to which the kernel gives what others left behind; runs until it is cancelled.

        Who starts a process himself asks for its end within moments. Who is still a zombie at the
        second look has nobody.
        """
        before: set[int] = set()
        while True:
            zombies = {pid for pid in _children() if process_birth(pid) is None}
            own = {process.pid for process in self._running.values()}
            _reap(zombies & before - own)
            before = zombies
            await asyncio.sleep(_LOOK_S)

    async def start(self, component: Component) -> None:
        """Starts it and waits until it is ready; `FailedPrecondition` quotes the log of one that ends."""
        self._components[component.name] = component
        self._launch(component)
        deadline = time.monotonic() + START_LIMIT_S
        while not await component.ready():
            process = self._running[component.name]
            if process.poll() is not None:
                raise FailedPrecondition("ComponentEnded", self._last_words(component.name))
            if time.monotonic() > deadline:
                raise FailedPrecondition("ComponentNotReady", self._last_words(component.name))
            await asyncio.sleep(_PAUSE_S)

    async def start_again(self, name: str) -> None:
        """Starts a component that was killed. One that runs is left alone."""
        component = self._known(name)
        if not self._is_alive(name):
            await self.start(component)

    async def kill(self, name: str) -> None:
        """SIGKILL, and waits until the process is gone. It stays dead."""
        self._known(name)
        process = self._running[name]
        process.kill()
        while process.poll() is None:
            await asyncio.sleep(_PAUSE_S)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a component that runs."""
        self._known(name)
        if not self._is_alive(name):
            raise FailedPrecondition("NotRunning", f"{name} does not run; start it first")
        self._running[name].send_signal(number)

    def pids(self) -> dict[str, int]:
        """Process ids, as this process sees them, of the components that run."""
        return {name: process.pid for name, process in self._running.items() if self._is_alive(name)}

    async def stop(self) -> None:
        """Kills all, the last started first."""
        for name in reversed(list(self._running)):
            await self.kill(name)

    def _launch(self, component: Component) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{component.name}.log").open("ab") as log:
            self._running[component.name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *component.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _known(self, name: str) -> Component:
        if name not in self._components:
            raise NotFound(f"no component {name}; there are {', '.join(self._components)}")
        return self._components[name]

    def _is_alive(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def _last_words(self, name: str) -> str:
        log = self.logs / f"{name}.log"
        return f"{name} did not come up; its log ends with:\n{log.read_text(errors='replace')[-_TAIL:]}"


def _children() -> list[int]:
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found += map(int, (thread / "children").read_text().split())
    return found


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
