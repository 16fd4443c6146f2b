"""Processes of a cluster: started, watched, killed and started again."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from selfie.errors import FailedPrecondition, NotFound

START_LIMIT_S: Final = 90.0
_PAUSE_S: Final = 0.05
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

    def watch_children(self) -> None:
        """Reaps whatever ends below this process, orphans of containers too; call it in the loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

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

    def _reap(self) -> None:
        own = {process.pid: process for process in self._running.values()}
        with suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                # Its Popen must learn the status of a component; nobody asks for that of an orphan.
                if ended.si_pid in own:
                    own[ended.si_pid].poll()
                else:
                    os.waitpid(ended.si_pid, 0)
