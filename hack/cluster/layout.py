"""Where things are in the directory of one cluster, and what its keeper is told to do."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster.preconditions import Level

NODE_NAME: Final = "selfie-node"
NODE_ADDRESS: Final = "10.99.0.1"
SERVICE_RANGE: Final = "10.96.0.0/16"
SERVICE_ADDRESS: Final = "10.96.0.1"
POD_RANGE: Final = "10.88.0.0/16"
CLUSTER_DOMAIN: Final = "cluster.local"
ISSUER: Final = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class Layout:
    """Files of one cluster below ``root``."""

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """For people and tests on this machine: the administrator's."""
        return self.root / "kubeconfig"

    @property
    def plan(self) -> Path:
        """What the keeper was started with."""
        return self.root / "plan.json"

    @property
    def record(self) -> Path:
        """Processes by which the cluster is found again."""
        return self.root / "cluster.json"

    @property
    def control(self) -> Path:
        """The socket on which the keeper takes orders."""
        return self.root / "control.sock"

    @property
    def audit_log(self) -> Path:
        """One event of the API server's audit per line."""
        return self.root / "audit.jsonl"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One file per component."""
        return self.root / "log"

    @property
    def configuration(self) -> Path:
        """Files that components are started with."""
        return self.root / "etc"

    @property
    def data(self) -> Path:
        """What components keep: etcd, containerd, kubelet."""
        return self.root / "data"

    @property
    def volumes(self) -> Path:
        """Directories that pods see as persistent volumes."""
        return self.root / "volumes"


@dataclass(frozen=True)
class Plan:
    """What a keeper needs to know; it goes through a file, since the keeper is another process."""

    level: Level
    directory: str
    binaries: Mapping[str, str]
    etcd_port: int
    peer_port: int
    api_port: int
    """On loopback of this machine at either level."""
    cgroup: str = ""
    shown: Mapping[str, str] = field(default_factory=dict)
    """Directories of this machine that pods may mount read-only, by the name they have there."""
    images: tuple[str, ...] = ()
    removes: bool = True
    """Whether the directory goes with the cluster."""

    @property
    def layout(self) -> Layout:
        """Where its files are."""
        return Layout(Path(self.directory))

    @property
    def api_address(self) -> tuple[str, int]:
        """Where the API server itself listens."""
        return (NODE_ADDRESS, 6443) if self.level == "node" else ("127.0.0.1", self.api_port)

    def write(self) -> None:
        """Puts it where the keeper reads it."""
        self.layout.plan.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, directory: Path) -> "Plan":
        """As it was written."""
        found: dict[str, Any] = json.loads(Layout(directory).plan.read_text())
        return cls(**{**found, "images": tuple(found["images"])})
