"""What a machine must allow, probed by doing it, and named in one line where it does not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cluster.cgroups import hierarchies

Level: TypeAlias = Literal["control-plane", "node"]

DEBIAN: Final = {
    "containerd": ("containerd", "ctr"),
    "runc": ("runc",),
    "containernetworking-plugins": (),
    "iproute2": ("ip",),
    "nftables": ("nft",),
    "util-linux": ("unshare", "nsenter", "setpriv"),
    "mount": ("mount",),
}
"""Debian's packages that the node level wants, with the commands by which each is known."""
CNI_PLUGINS: Final = Path("/usr/lib/cni")
_SYSTEM: Final = ":/usr/sbin:/sbin"


def missing(level: Level) -> list[str]:
    """One sentence for everything that stands in the way of a cluster here; empty if nothing does."""
    if not sys.platform.startswith("linux"):
        return ["it needs Linux"]
    if level == "control-plane":
        return [] if shutil.which("setpriv") else ["setpriv is not on PATH: apt-get install util-linux"]
    return list(_missing_for_a_node())


def _missing_for_a_node() -> Iterator[str]:
    packages = missing_packages()
    if packages:
        yield f"Debian packages are missing: apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        yield "it needs root: namespaces, mounts and cgroups are made"
        return
    for command, sentence in _PROBES:
        # Whatever is not installed has been named above.
        if _is_command(command.split()[0]) and not _works(command):
            yield sentence
    if not hierarchies():
        yield "no writable cgroups under /sys/fs/cgroup: a container needs them delegated or --privileged"


def missing_packages(installed: Callable[[str], bool] | None = None) -> list[str]:
    """Debian's packages that are still to be installed."""
    known = installed or _is_command
    lacking = [name for name, commands in DEBIAN.items() if not all(map(known, commands))]
    if not (CNI_PLUGINS / "bridge").exists():
        lacking.append("containernetworking-plugins")
    return lacking


def _is_command(name: str) -> bool:
    return shutil.which(name, path=os.environ.get("PATH", "") + _SYSTEM) is not None


_OVERLAY: Final = (
    "mount -t tmpfs t /mnt && cd /mnt && mkdir l u w m"
    " && mount -t overlay -o lowerdir=l,upperdir=u,workdir=w o m"
)
# Each runs in namespaces of its own, so that nothing of a probe stays.
_PROBES: Final[Sequence[tuple[str, str]]] = (
    ("true", "it needs CAP_SYS_ADMIN: new mount, network and pid namespaces are refused"),
    (_OVERLAY, "it needs overlayfs: mounting one is refused"),
    (
        "ip link add name probe0 type veth peer name probe1",
        "it needs CAP_NET_ADMIN and veth: a pair cannot be made",
    ),
    ("ip link add name probe2 type bridge", "it needs bridge: one cannot be made"),
    (
        "nft add table ip t && nft add chain ip t c '{ type nat hook output priority 0; }'",
        "it needs nftables with NAT in the kernel: a chain cannot be made",
    ),
)


def _works(command: str) -> bool:
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + _SYSTEM}
    try:
        tried = subprocess.run(
            [*namespaces, "sh", "-c", command], env=environment, capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0
