"""What root on this machine can do to the processes of a pod: stop their time, take their memory.

Whoever wants to disturb a program at a certain moment first stops its time there: the next request to
the API takes longer than a small program has left.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cluster.cgroups import everywhere
from selfie.errors import NotFound, Unavailable

_LIMIT_S: Final = 60.0
_TAKES_ALL: Final = """
import sys
from pathlib import Path
Path(sys.argv[1]).write_text("0")
taken = []
while True:
    taken.append(b"x" * (1 << 24))
"""


def processes_of(pod_uid: str, module: str = "") -> list[int]:
    """Process ids of the pod's containers; with ``module``, those that run this module of Python, or file."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            # Version 1's names have the UID as it is, a cgroup driver of systemd's has underscores.
            groups = (process / "cgroup").read_text().replace("_", "-")
            if f"pod{pod_uid}" in groups and _runs(words, module):
                found.append(int(process.name))
    return sorted(found)


@contextmanager
def time_stopped(pod_uid: str, module: str = "") -> Iterator[None]:
    """SIGSTOP to these processes, and SIGCONT to those that are still there at the end."""
    stopped = processes_of(pod_uid, module)
    if not stopped:
        raise NotFound(f"the pod {pod_uid} has no process {module} on this machine")
    _signal(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(stopped, signal.SIGCONT)


def kill(pid: int) -> None:
    """SIGKILL."""
    _signal([pid], signal.SIGKILL)


def run_out_of_memory(pid: int) -> None:
    """Has the kernel kill this process for want of memory: all that its container may have is taken."""
    with suppress(ProcessLookupError, FileNotFoundError):
        # Of all in the container, this one is to be chosen.
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    command = [sys.executable, "-S", "-c", _TAKES_ALL, str(_memory_group(pid) / "cgroup.procs")]
    taker = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + _LIMIT_S
        while _is_there(pid):
            if time.monotonic() > deadline:
                raise Unavailable(f"the process {pid} lives on without memory")
            time.sleep(0.01)
    finally:
        taker.kill()
        taker.wait()


def _runs(words: Sequence[str], module: str) -> bool:
    if not module:
        # All but the one that holds the pod's namespaces, whose command is a single word.
        return len(words) > 2
    return ("-m", module) in itertools.pairwise(words) or Path("".join(words[1:2])).name == module


def _memory_group(pid: int) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for place in everywhere():
            group = place / path.lstrip("/")
            if "memory" in controllers.split(",") and (group / "memory.limit_in_bytes").exists():
                return group
            # Version 2 names no controllers; its top has no limit.
            if not controllers and (group / "memory.max").exists():
                return group
    raise NotFound(f"the process {pid} is in no cgroup that limits its memory")


def _is_there(pid: int) -> bool:
    try:
        # A zombie is dead, and may stay until its parent's time goes on.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _signal(pids: Sequence[int], signum: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
