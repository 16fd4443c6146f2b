"""Which process a number means: numbers are given out again, births are not."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Born(NamedTuple):
    """A process that no later one can be taken for."""

    pid: int
    birth: str

    @property
    def is_alive(self) -> bool:
        """Whether this very process is still at work, whoever started it."""
        return process_birth(self.pid) == self.birth

    def send(self, signum: signal.Signals) -> bool:
        """Signals the process and all of its session; False if it is gone."""
        if not self.is_alive:
            return False
        try:
            os.killpg(self.pid, signum)
        except ProcessLookupError:
            # It has only just been forked, and is not the leader of its session yet.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)
        return True


def process_birth(pid: int) -> str | None:
    """When the process was born, as boot and clock ticks since; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything; the state and the 22nd field come after it.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else f"{boot}/{fields[19]}"
