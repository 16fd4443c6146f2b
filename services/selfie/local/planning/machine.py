"""What this machine has: processors that may be used, memory, and room where a run's artifacts go."""

import os
import shutil
from pathlib import Path
from urllib.parse import unquote

from selfie.runs.estimates.advice import Machine

_MEMORY_FILE = Path("/proc/meminfo")
_CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def this_machine(artifacts: str) -> Machine:
    """This machine; ``artifacts`` is the URI of the folder of all runs."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory=memory_bytes(_MEMORY_FILE, _CGROUP_FILES),
        disk=free_bytes(artifacts),
    )


def memory_bytes(memory_file: Path, limits: tuple[Path, ...]) -> float:
    """Memory in all, or what the container may take of it."""
    lines = (line.split() for line in memory_file.read_text().splitlines())
    total = next(1024.0 * int(words[1]) for words in lines if words[0] == "MemTotal:")
    given = (file.read_text().strip() for file in limits if file.is_file())
    return min([total, *(float(text) for text in given if text.isdigit())])


def free_bytes(uri: str) -> float | None:
    """Room where ``uri`` lies, or is to be made; None in an object store."""
    scheme, _, rest = uri.partition("://")
    if scheme != "file":
        return None
    path = Path(unquote(rest))
    there = next(place for place in (path, *path.parents) if place.is_dir())
    return float(shutil.disk_usage(there).free)
