"""The clusters that tests run on: their own, or one that a developer has."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from cluster.preconditions import Level
from cluster.running import Cluster, started
from selfie.errors import FailedPrecondition, Unavailable
from waiting import until

EXISTING_VARIABLE = "SELFIE_TEST_CLUSTER"
# Of these a machine may be short without any fault in the code under test.
_IMPOSSIBLE = frozenset({"MachineCannot", "GoIsMissing"})


@dataclass(frozen=True)
class NodeCluster:
    """A cluster with real pods. ``own`` is what tests can break; None on a developer's cluster."""

    kubeconfig: Path
    own: Cluster | None = None

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints; `Unavailable` with its complaint."""
        if self.own:
            return self.own.kubectl(*arguments, given=given)
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def breakable(self) -> Cluster:
        """The test's own cluster; skips on one that others may be using."""
        if self.own is None:
            pytest.skip("this test stops parts of the cluster, and KUBECONFIG names one that is not its own")
        return self.own


@contextmanager
def started_or_skipped(level: Level) -> Iterator[Cluster]:
    """A cluster for tests; on a machine that cannot run one, they are skipped with the reason."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(started(level))
        except FailedPrecondition as error:
            if error.reason in _IMPOSSIBLE:
                pytest.skip(str(error))
            raise
        yield cluster


@contextmanager
def node_or_existing(environment: Mapping[str, str] = os.environ) -> Iterator[NodeCluster]:
    """A node of its own, or the cluster of ``KUBECONFIG`` where the developer asks for that."""
    if environment.get(EXISTING_VARIABLE) == "existing":
        yield NodeCluster(Path(environment["KUBECONFIG"]))
        return
    with started_or_skipped("node") as cluster:
        yield NodeCluster(cluster.kubeconfig, cluster)


def apply(cluster: Cluster | NodeCluster, *wanted: Mapping[str, Any]) -> None:
    """``kubectl apply`` of these objects."""
    items = {"apiVersion": "v1", "kind": "List", "items": list(wanted)}
    cluster.kubectl("apply", "-f", "-", given=json.dumps(items))


@contextmanager
def forwarded(cluster: Cluster, namespace: str, target: str, port: int) -> Iterator[str]:
    """The address here that ``kubectl port-forward`` leads to a port of ``target``."""
    place = (f"--kubeconfig={cluster.kubeconfig}", f"-n={namespace}")
    command = [cluster.plan.binaries["kubectl"], *place, "port-forward", target, f":{port}"]
    # It says a line for each connection, and would wait for whoever reads that no more.
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=said, stderr=said) as forwarder:
        try:
            yield until(lambda: _address(said, forwarder))
        finally:
            forwarder.terminate()


def _address(said: IO[bytes], forwarder: "subprocess.Popen[bytes]") -> str | None:
    text = os.pread(said.fileno(), 4096, 0).decode()
    assert forwarder.poll() is None, text
    first = re.match(r"Forwarding from (127\.0\.0\.1:\d+) ", text)
    return first and first[1]


def found(cluster: Cluster | NodeCluster, *arguments: str) -> Any:
    """``kubectl get`` as data."""
    return json.loads(cluster.kubectl("get", *arguments, "--output=json"))
