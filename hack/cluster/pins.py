"""What is built from which Go module, at the version that its go.mod pins."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

MODULES: Final = Path(__file__).parent / "modules"
_NUMBERS: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Module:
    """A folder with a go.mod; ``requires`` is the module whose version names what is built."""

    name: str
    requires: str
    stamp: str = ""
    """Variable of the linker into which the version goes."""

    @property
    def directory(self) -> Path:
        """Where its go.mod is."""
        return MODULES / self.name

    @property
    def version(self) -> str:
        """As in go.mod: ``v1.36.3``."""
        return _required(self.directory / "go.mod", self.requires)

    @property
    def key(self) -> str:
        """Name of its folder in the cache: another for other dependencies, or other sources of our own."""
        return f"{self.name}-{self.version}-{_digest(self.directory)[:8]}"


@dataclass(frozen=True)
class Tool:
    """One executable, the Go package that it is built from, and what makes it tell its version."""

    name: str
    module: Module
    package: str
    ask: tuple[str, ...] = ("--version",)

    def accepts(self, answer: str) -> bool:
        """Whether an executable that answers so may stand in: same major and minor version."""
        return _release(answer) == _release(self.module.version)


_KUBERNETES: Final = Module("kubernetes", "k8s.io/kubernetes", "k8s.io/component-base/version.gitVersion")
_ETCD: Final = Module("etcd", "go.etcd.io/etcd/server/v3")
_NODE: Final = Module("node", "github.com/coredns/coredns")
_HELM: Final = Module("helm", "helm.sh/helm/v4", "helm.sh/helm/v4/internal/version.version")
_HELM_3: Final = Module("helm3", "helm.sh/helm/v3", "helm.sh/helm/v3/internal/version.version")


def _kubernetes(name: str) -> Tool:
    return Tool(name, _KUBERNETES, f"k8s.io/kubernetes/cmd/{name}")


KUBECTL: Final = Tool("kubectl", _KUBERNETES, "k8s.io/kubernetes/cmd/kubectl", ("version", "--client"))
CONTROL_PLANE: Final = (
    Tool("etcd", _ETCD, "go.etcd.io/etcd/server/v3"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    KUBECTL,
)
NODE: Final = (
    *CONTROL_PLANE,
    _kubernetes("kube-scheduler"),
    _kubernetes("kube-proxy"),
    _kubernetes("kubelet"),
    Tool("coredns", _NODE, "./coredns", ("-version",)),
)
PAUSE: Final = Tool("pause", _NODE, "./pause", ())
"""What holds a pod's namespaces open. It tells no version, so it never comes from PATH."""
EXTRAS: Final = {
    "helm": Tool("helm", _HELM, "helm.sh/helm/v4/cmd/helm", ("version", "--short")),
    "helm3": Tool("helm3", _HELM_3, "helm.sh/helm/v3/cmd/helm", ("version", "--short")),
}


@cache
def _required(file: Path, path: str) -> str:
    found = re.search(rf"^(?:require)?\s*{re.escape(path)} (v\S+)", file.read_text(), re.MULTILINE)
    if not found:
        raise ValueError(f"{file} does not say which version of {path} it requires")
    return found[1]


@cache
def _digest(directory: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(directory)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _release(text: str) -> tuple[str, str] | None:
    found = _NUMBERS.search(text)
    return (found[1], found[2]) if found else None
