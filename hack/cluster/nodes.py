"""What can be done to a node beside its API: commands inside its namespaces, images, directories."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster import volumes
from cluster.node import ctr
from cluster.running import Cluster
from selfie.errors import InvalidInput, Unavailable

_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")


def inside(cluster: Cluster, command: Sequence[str]) -> list[str]:
    """The command line by which root runs ``command`` in the node's namespaces. Paths must be absolute."""
    if cluster.plan.level != "node":
        raise InvalidInput("level", "a control plane has no namespaces of its own", "start --level node")
    # warden > unshare > keeper, which is process 1 inside.
    pid = cluster.keeper.pid
    for _ in range(2):
        pid = _only_child(pid)
    return ["nsenter", f"--target={pid}", *_NAMESPACES, "--", *command]


def run_inside(cluster: Cluster, *command: str) -> str:
    """What the command prints; `Unavailable` with its complaint."""
    done = subprocess.run(inside(cluster, command), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def import_image(cluster: Cluster, archive: Path, *, name: str | None = None) -> str:
    """Imports an OCI or Docker archive for the pods; returns what containerd says about it.

    ``name`` is for an archive that names its image by a bare tag, or not at all.
    """
    named = [f"--base-name={name}", "--digests"] if name else []
    return run_inside(cluster, *ctr("images", "import", *named, str(archive.resolve())))


def make_volume(cluster: Cluster, name: str, namespace: str) -> Path:
    """A volume with its claim ``name``; returns the directory, in which tests may look and write."""
    directory = cluster.layout.volumes / f"{namespace}-{name}"
    directory.mkdir(parents=True)
    _apply(cluster, volumes.claimed_volume(name, namespace, directory))
    return directory


def make_environment(cluster: Cluster, namespace: str) -> None:
    """The claim that pods of the thin image mount in this namespace."""
    _apply(cluster, volumes.environment_volume(namespace))


def _apply(cluster: Cluster, items: list[volumes.Object]) -> None:
    cluster.kubectl(
        "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


def _only_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not children:
        raise Unavailable("the node has ended")
    return int(children[0])
