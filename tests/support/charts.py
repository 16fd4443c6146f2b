"""The chart as Helm renders and installs it."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from cluster import binaries, pins

CHART = Path(__file__).parents[2] / "charts/selfie"
VALUES = {path.name.removesuffix("-values.yaml"): path for path in sorted(CHART.glob("ci/*-values.yaml"))}
"""Values with which the chart can be installed, by name; ``everything`` has every branch in it."""

KUBERNETES = "--kube-version=1.36.3"
"""Without a cluster, a Helm 3 that was built from its module alone thinks of a very old one."""

Object: TypeAlias = dict[str, Any]


class Refused(Exception):
    """Helm's own complaint."""


@dataclass(frozen=True)
class Helm:
    """The executable, and the cluster that it installs into; None for rendering alone."""

    executable: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str, seconds: float = 120) -> str:
        """What helm prints; `Refused` with its complaint."""
        way = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        command = [str(self.executable), *arguments, *way]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout

    def rendered(self, values: Path, changes: Mapping[str, Any] | None = None) -> "Rendered":
        """The objects of a release ``r`` in the namespace ``team``."""
        place = ("-n=team", f"-f={values}", KUBERNETES)
        text = self.run("template", "r", str(CHART), *place, *settings(changes or {}))
        return Rendered([entry for entry in yaml.safe_load_all(text) if entry])


@dataclass(frozen=True)
class Rendered:
    """All objects of a release."""

    objects: list[Object]

    def of(self, kind: str) -> dict[str, Object]:
        """Those of a kind, by name."""
        return {entry["metadata"]["name"]: entry for entry in self.objects if entry["kind"] == kind}

    def pods(self) -> Iterator[tuple[str, Object]]:
        """The spec of the pods of each Deployment."""
        for name, entry in self.of("Deployment").items():
            yield name, entry["spec"]["template"]["spec"]

    def environment(self, deployment: str) -> dict[str, str]:
        """Variables of its only container, those of a ConfigMap included."""
        [container] = dict(self.pods())[deployment]["containers"]
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        return found | {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}

    def run_pods(self) -> Object:
        """What the operator is told of the pods that it makes."""
        [found] = [entry for name, entry in self.of("ConfigMap").items() if name.endswith("-run-pods")]
        return yaml.safe_load(found["data"]["pods.yaml"])


def settings(changes: Mapping[str, Any]) -> list[str]:
    """Flags that set values by their path."""
    return [f"--set-json={path}={json.dumps(value)}" for path, value in changes.items()]


def found_helm(kubeconfig: Path | None = None, which: str = "helm") -> Helm:
    """Helm of this machine, or the one that `make cluster-tools` has built; else the test is skipped.

    ``which`` is ``helm``, the newest, or ``helm3``.
    """
    executable = binaries.find(pins.EXTRAS[which], cache=binaries.cache_directory())
    if executable is None:
        pytest.skip(f"there is no {which}; `make test-chart` builds it")
    return Helm(executable, kubeconfig)
