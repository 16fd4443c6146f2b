"""The cgroup below which a node's pods live, in both versions of cgroups."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "selfie-node-"
_WANTED: Final = frozenset({"cpu", "cpuset", "memory", "pids"})
_LIMIT_S: Final = 10.0


def hierarchies(
    mounts: Path = Path("/proc/self/mountinfo"), can_use: Callable[[Path], bool] | None = None
) -> list[Path]:
    """Mount points below which a node's cgroup is made; empty if the kubelet could not use them.

    In a hybrid of both versions, the old hierarchies count: the new one has no controllers then.
    """
    found = list(_mounted(mounts))
    old = [(path, set(options)) for kind, path, options in found if kind == "cgroup"]
    held = set().union(*(options for _, options in old)) if old else set()
    if held >= _WANTED:
        paths = [path for path, _ in old]
    else:
        paths = [path for kind, path, _ in found if kind == "cgroup2" and _controllers(path) >= _WANTED]
    return paths if paths and all(map(can_use or _can_use, paths)) else []


def everywhere(mounts: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """All mount points of cgroups: runtimes make theirs also where nobody asked them to."""
    return [path for _, path, _ in _mounted(mounts)]


def make(name: str, places: Iterable[Path]) -> None:
    """The cgroup ``name`` in each hierarchy, ready for children."""
    for place in places:
        if (place / "cgroup.controllers").exists():
            _delegate(place)
            (place / name).mkdir()
            _delegate(place / name)
        else:
            (place / name).mkdir()
            # Version 1 leaves these empty, and nothing can be started in such a set.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (place / file).exists():
                    (place / name / file).write_text((place / file).read_text())


def remove(name: str, places: Iterable[Path]) -> None:
    """Removes it with all below, once the last process in it is gone."""
    for place in places:
        deadline = time.monotonic() + _LIMIT_S
        while (place / name).exists() and time.monotonic() < deadline:
            _remove_tree(place / name)
            time.sleep(0.02)


def name_for(pid: int) -> str:
    """Name of the cgroup of the node that this process keeps."""
    return f"{PREFIX}{pid}"


def sweep(places: Iterable[Path]) -> None:
    """Removes what nodes left whose keeper was killed before it could tidy up."""
    own = name_for(os.getpid())
    for place in places:
        for left in place.glob(f"{PREFIX}*"):
            if left.name == own or not Path("/proc", left.name.removeprefix(PREFIX)).exists():
                _remove_tree(left)


def _remove_tree(top: Path) -> None:
    below = sorted(top.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
    for directory in (*below, top):
        # Busy as long as a process dies slowly; whoever called tries again.
        with suppress(OSError):
            directory.rmdir()


def _mounted(mounts: Path) -> Iterator[tuple[str, Path, list[str]]]:
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            yield kind, Path(left.split(" ")[4]), options.split(",")


def _controllers(place: Path) -> set[str]:
    try:
        return set((place / "cgroup.controllers").read_text().split())
    except OSError:
        return set()


def _delegate(place: Path) -> None:
    for controller in _controllers(place):
        with suppress(OSError):
            (place / "cgroup.subtree_control").write_text(f"+{controller}")


def _can_use(place: Path) -> bool:
    unified = (place / "cgroup.controllers").exists()
    probe = place / f"selfie-probe-{os.getpid()}"
    try:
        if unified:
            _delegate(place)
        probe.mkdir()
        # A container's own root has processes in it, and hands no controllers on.
        usable = not unified or _controllers(probe) >= _WANTED
        probe.rmdir()
    except OSError:
        return False
    return usable
