"""What processes take of the machine: processor time and memory, read from /proc."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY_S = 1.0


@dataclass
class Meter:
    """Follows processes by name; one that is started anew under the same name goes on with its sums.

    ``pids`` says which process stands for each name by now.
    """

    pids: Callable[[], Mapping[str, int]]
    cpu_s: dict[str, float] = field(default_factory=dict)
    most_bytes: dict[str, int] = field(default_factory=dict)
    bytes_now: dict[str, int] = field(default_factory=dict)
    _last: dict[int, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Never returns."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY_S)

    def look(self) -> None:
        """Adds what each has taken since the last look."""
        for name, pid in self.pids().items():
            try:
                spent, resident = _spent_s(pid), _resident_bytes(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
            since = self._last.get(pid, 0.0)
            self._last[pid] = spent
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + spent - since
            self.bytes_now[name] = resident
            self.most_bytes[name] = max(self.most_bytes.get(name, 0), resident)

    def window(self) -> "Window":
        """What is taken from now on."""
        self.look()
        self.most_bytes = dict(self.bytes_now)
        return Window(self, dict(self.cpu_s), time.monotonic(), _busy_s())


@dataclass(frozen=True)
class Window:
    """A stretch of time that began when this was made."""

    meter: Meter
    before: Mapping[str, float]
    began: float
    busy: float

    @property
    def seconds(self) -> float:
        """Its length so far."""
        return time.monotonic() - self.began

    def figures(self) -> dict[str, Any]:
        """Cores of each process and most memory, and the cores that all else on the machine took."""
        self.meter.look()
        seconds = self.seconds
        took = {name: spent - self.before.get(name, 0.0) for name, spent in self.meter.cpu_s.items()}
        others = _busy_s() - self.busy - sum(took.values())
        return {
            "seconds": round(seconds, 1),
            "cores": {name: round(spent / seconds, 3) for name, spent in sorted(took.items())},
            "cores_of_others": round(max(others, 0.0) / seconds, 2),
            "rss_mib_most": {
                name: round(size / 2**20) for name, size in sorted(self.meter.most_bytes.items())
            },
        }


def _spent_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _busy_s() -> float:
    """Seconds that all processors together have worked."""
    user, nice, system, _idle, _wait, irq, soft, *_ = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + soft) / _TICKS
