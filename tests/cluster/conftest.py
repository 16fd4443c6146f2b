"""Clusters as fixtures: a control plane per module, one node for all."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from charts import found_helm
from cluster.fake_kubelet import FakeKubelet
from cluster.running import Cluster
from clusters import NodeCluster, apply, node_or_existing, started_or_skipped
from fault_bench import Bench, opened
from installations import Installation, brings_the_kind, restricted, thin_values
from keeping import Place, in_objects, on_volume, sources_volume
from killing import MODEL, SPEC, TinyRun, made_by, write_sources
from releases import install_crd
from selfie.artifacts.store import Store
from selfie.kube.client import ClientSettings, connect
from selfie.kube.transport import Access
from selfie.local.nurseries import own_nursery
from trained_runs import ADMITTED, TrainedRun


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
async def trained(control_plane: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[TrainedRun]:
    """A run of a namespace of its own, whose jobs a fake node runs."""
    install_crd(control_plane)
    access = ClientSettings(access=Access(kubeconfig=control_plane.kubeconfig))
    with FakeKubelet(control_plane, labels=ADMITTED) as node:
        async with connect(access) as api:
            yield TrainedRun(control_plane, api, node, namespace, tmp_path)
            control_plane.kubectl(
                "delete", "jobs,pods", "--all", f"-n={namespace}", "--wait=false", "--force"
            )


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
def release_on_volume(
    node_cluster: NodeCluster, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """The chart on the node, with artifacts on a volume, and the sources of the tiny run in it."""
    cluster = node_cluster.breakable()
    namespace = restricted(cluster, f"team-{secrets.token_hex(4)}")
    return _installed(cluster, namespace, on_volume(cluster, namespace), tiny_checkpoint, tmp_path_factory)


@pytest.fixture(scope="session")
def release_on_objects(
    node_cluster: NodeCluster, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The same with artifacts in an object store, beside the other release."""
    cluster = node_cluster.breakable()
    namespace = restricted(cluster, f"team-{secrets.token_hex(4)}")
    with in_objects(cluster, namespace) as place:
        yield _installed(cluster, namespace, place, tiny_checkpoint, tmp_path_factory)


def _installed(
    cluster: Cluster, namespace: str, place: Place, model: Path, folders: pytest.TempPathFactory
) -> Installation:
    write_sources(sources_volume(cluster, namespace), model)
    values = thin_values(place, crds=brings_the_kind(cluster))
    helm, folder = found_helm(cluster.kubeconfig), folders.mktemp("release")
    found = Installation(cluster, helm, namespace, place, folder, values)
    found.install()
    return found


@pytest.fixture(scope="session")
def reference_store(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[Callable[[], Store]]:
    """Gives the tiny run on this machine, once it has ended; until then, it goes on beside the tests."""
    with TemporaryDirectory(prefix="selfie-") as directory:
        nursery = own_nursery(Path(directory))
        file = tmp_path_factory.mktemp("run") / "run.yaml"
        write_sources(file.parent, tiny_checkpoint)
        file.write_text(SPEC.format(model=MODEL))
        run = TinyRun(file, tmp_path_factory.mktemp("reference"), nursery)
        run.start()

        def ended() -> Store:
            run.finish(seconds=600)
            return run.store

        try:
            yield ended
        finally:
            run.close()
            nursery.close()


@pytest.fixture(scope="session")
def reference(reference_store: Callable[[], Store]) -> Callable[[], Mapping[str, Any]]:
    """Gives what the tiny run makes on this machine."""
    return cache(lambda: made_by(reference_store()))
