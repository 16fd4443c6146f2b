"""A node's own view of the machine: mounts, kernel settings and network, all inside its namespaces."""

import subprocess
from pathlib import Path
from typing import Final

from cluster.layout import NODE_ADDRESS, NODE_NAME, SERVICE_RANGE, Plan
from selfie.errors import FailedPrecondition

SHOWN: Final = Path("/run/selfie/shown")
"""Where pods' read-only view of this machine is put together."""
INTERFACE: Final = "node0"

# The kubelet wants these and would set them for the whole machine, since they belong to no namespace.
# It finds them set, in files that only it sees.
_KERNEL: Final = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
# Directories of the system in which containers' tools leave things behind.
_COVERED: Final = ("/var/lib", "/var/log")


def furnish(plan: Plan) -> None:
    """Makes this process's fresh namespaces a node. Needs to be process 1 of all of them."""
    _mounts()
    _kernel_settings()
    _network()
    for name, source in plan.shown.items():
        _show(Path(source), SHOWN / name)
    plan.layout.volumes.mkdir(exist_ok=True)


def _mounts() -> None:
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "proc", "proc", "/proc")
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    for place in _COVERED:
        layer = Path("/run/selfie/layers", place.strip("/").replace("/", "-"))
        for name in ("upper", "work"):
            (layer / name).mkdir(parents=True)
        options = f"lowerdir={place},upperdir={layer}/upper,workdir={layer}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, place)
    # The kubelet hands mounts on to containers.
    _run("mount", "--make-rshared", "/")


def _kernel_settings() -> None:
    settings = Path("/run/selfie/kernel")
    settings.mkdir(parents=True)
    for name, value in _KERNEL.items():
        stand_in = settings / name.replace("/", ".")
        stand_in.write_text(f"{value}\n")
        _run("mount", "--bind", str(stand_in), f"/proc/sys/{name}")


def _network() -> None:
    _run("hostname", NODE_NAME)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", "node1")
    _run("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", INTERFACE)
    for name in (INTERFACE, "node1"):
        _run("ip", "link", "set", name, "up")
    # Addresses of Services are nowhere: a route is needed all the same, for them to be rewritten on it.
    _run("ip", "route", "add", SERVICE_RANGE, "dev", INTERFACE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def _show(source: Path, place: Path) -> None:
    place.mkdir(parents=True)
    _run("mount", "--bind", str(source), str(place))
    _run("mount", "-o", "remount,bind,ro", str(place))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedPrecondition("NodeRefused", f"{' '.join(command)}: {done.stderr.strip()}")
