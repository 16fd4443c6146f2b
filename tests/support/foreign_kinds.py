"""Definitions of kinds that are not Kubernetes' own, from the Go modules of those who made them."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from cluster.running import Cluster

_MODULES = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "github.com/cert-manager/cert-manager@v1.21.2": ("deploy/crds/cert-manager.io_certificates.yaml",),
}


def define_foreign_kinds(cluster: Cluster) -> None:
    """Applies them; a test is skipped where they cannot be had."""
    for path in definitions():
        # They are too large for the annotation of a client-side apply.
        cluster.kubectl("apply", "--server-side", "-f", str(path))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


@cache
def definitions() -> tuple[Path, ...]:
    """Their files, in Go's cache of modules."""
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        pytest.skip("definitions of monitors and certificates come from Go modules, and there is no go")
    command = [go, "mod", "download", "-json", *_MODULES]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "GOFLAGS": "-mod=mod"},
    )
    if done.returncode:
        pytest.skip(f"Go modules cannot be had: {done.stderr.strip() or done.stdout.strip()}")
    found, rest, decoder = {}, done.stdout.strip(), json.JSONDecoder()
    while rest:
        entry, end = decoder.raw_decode(rest)
        found[f"{entry['Path']}@{entry['Version']}"] = Path(entry["Dir"])
        rest = rest[end:].lstrip()
    return tuple(found[module] / file for module, files in _MODULES.items() for file in files)
