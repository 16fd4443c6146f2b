"""Clusters as fixtures: a control plane per module, one node for all."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from charts import found_helm
from cluster.running import Cluster
from clusters import NodeCluster, apply, node_or_existing, started_or_skipped
from fault_bench import Bench, opened
from installations import Installation, prepared
from killing import MODEL, SPEC, TinyRun, made_by, write_sources
from selfie.local.nurseries import own_nursery


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Cluster]:
    """etcd, API server and controllers; tests may kill and pause them, and leave them running."""
    with started_or_skipped("control-plane") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def node_cluster() -> Iterator[NodeCluster]:
    """A cluster with real pods."""
    with node_or_existing() as cluster:
        yield cluster


@pytest.fixture
async def bench(control_plane: Cluster, tmp_path: Path) -> AsyncIterator[Bench]:
    """Releases with faults between operator and API server, a namespace each."""
    async with opened(control_plane, tmp_path) as ready:
        yield ready


@pytest.fixture
def namespace(control_plane: Cluster) -> str:
    """A namespace of the control plane that no other test has seen."""
    return _fresh(control_plane, {})


@pytest.fixture
def restricted_namespace(node_cluster: NodeCluster) -> Iterator[str]:
    """A namespace of the node's cluster that enforces restricted Pod Security; gone with the test."""
    name = _fresh(node_cluster, {"pod-security.kubernetes.io/enforce": "restricted"})
    yield name
    node_cluster.kubectl("delete", "namespace", name, "--wait=false")


def _fresh(cluster: Cluster | NodeCluster, labels: dict[str, str]) -> str:
    name = f"test-{secrets.token_hex(4)}"
    metadata = {"name": name, "labels": labels}
    apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    # A pod without its account is refused, and the account takes a moment.
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"-n={name}", "--timeout=60s")
    return name


@pytest.fixture(scope="session")
def release(node_cluster: NodeCluster, tiny_checkpoint: Path) -> Installation:
    """The chart on the node, with the sources of the tiny run in its volume."""
    cluster = node_cluster.breakable()
    found = prepared(cluster, found_helm(cluster.kubeconfig), f"team-{secrets.token_hex(4)}")
    write_sources(found.sources, tiny_checkpoint)
    found.install()
    return found


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[Callable[[], Mapping[str, Any]]]:
    """Gives what the tiny run makes on this machine; until then, it goes on beside the tests."""
    with TemporaryDirectory(prefix="selfie-") as directory:
        nursery = own_nursery(Path(directory))
        file = tmp_path_factory.mktemp("run") / "run.yaml"
        write_sources(file.parent, tiny_checkpoint)
        file.write_text(SPEC.format(model=MODEL))
        run = TinyRun(file, tmp_path_factory.mktemp("reference"), nursery)
        run.start()

        @cache
        def made() -> Mapping[str, Any]:
            run.finish(seconds=600)
            return made_by(run.store)

        try:
            yield made
        finally:
            run.close()
            nursery.close()
