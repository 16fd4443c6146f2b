"""What can be done to a node beside its API: commands inside its namespaces, images, directories."""

import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cluster import volumes
from cluster.node import ctr
from cluster.running import Cluster
from selfie.errors import InvalidInput, Unavailable

_ASIDE: Final = "localhost/imported"
_NAMESPACES: Final = ("--mount", "--net", "--pid", "--uts", "--ipc")


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


def import_image(cluster: Cluster, archive: Path, *, name: str | None = None) -> None:
    """Gives an OCI or Docker archive to the pods; ``name`` replaces the name in an OCI archive, if any."""
    digest = _digest(archive) if name else None
    aside = [f"--base-name={_ASIDE}", "--digests"] if name else []
    run_inside(cluster, *ctr("images", "import", *aside, str(archive.resolve())))
    if name:
        run_inside(cluster, *ctr("images", "tag", "--force", f"{_ASIDE}@{digest}", name))


def images(cluster: Cluster) -> list[str]:
    """Names of the images that pods can have."""
    return run_inside(cluster, *ctr("images", "list", "--quiet")).split()


def make_volume(cluster: Cluster, name: str, namespace: str) -> Path:
    """A volume with its claim ``name``; returns the directory, in which tests may look and write."""
    directory = cluster.layout.volumes / f"{namespace}-{name}"
    directory.mkdir(parents=True)
    _apply(cluster, volumes.claimed_volume(name, namespace, directory))
    return directory


def make_environment(cluster: Cluster, namespace: str) -> None:
    """The claim that pods of the thin image mount in this namespace."""
    _apply(cluster, volumes.environment_volume(namespace))


def _digest(archive: Path) -> str:
    try:
        with tarfile.open(archive) as files, files.extractfile("index.json") or io.BytesIO() as index:
            (manifest,) = json.load(index)["manifests"]
    except (KeyError, ValueError) as error:
        raise InvalidInput(
            "archive",
            f"{archive} is no OCI archive of one image",
            "import it without a name, or export it anew",
        ) from error
    return str(manifest["digest"])


def _apply(cluster: Cluster, items: list[volumes.Object]) -> None:
    cluster.kubectl(
        "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


def _only_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not children:
        raise Unavailable("the node has ended")
    return int(children[0])
