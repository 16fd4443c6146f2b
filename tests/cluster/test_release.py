"""A release of the chart with real pods, in a namespace that enforces restricted Pod Security."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from charts import CHART, Object, found_helm
from cluster import nodes, thin, volumes
from cluster.running import Cluster
from clusters import NodeCluster, apply, found
from hostile import MODEL, OPERATOR, Hostile, with_changes
from hostile_runs import HOSTILE
from installations import brings_the_kind
from waiting import until

TEAM = "release"
READY_S = 400
"""Every process imports at once, on as many cores as the machine has."""
HOSTILE_PLACES = [
    row
    for row in HOSTILE
    if row.by == frozenset({OPERATOR}) and row.category == "reads what the pod can read"
]


@dataclass(frozen=True)
class Release:
    """What is installed, and where."""

    node: Cluster
    namespace: str

    def get(self, *arguments: str) -> Any:
        return found(self.node, *arguments, f"-n={self.namespace}")


@pytest.fixture(scope="module")
def release(node_cluster: NodeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart's own defaults, but for where images and artifacts are."""
    node = node_cluster.breakable()
    helm = found_helm(node.kubeconfig)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(node, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM, "labels": labels}})
    node.kubectl("wait", "--for=create", "serviceaccount/default", f"-n={TEAM}", "--timeout=60s")
    nodes.make_environment(node, TEAM)
    nodes.make_volume(node, "artifacts", TEAM)
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    values.write_text(json.dumps(_values() | {"crds": brings_the_kind(node)}))
    helm.run("install", "r", str(CHART), f"-n={TEAM}", f"-f={values}")
    yield Release(node, TEAM)
    helm.run("uninstall", "r", f"-n={TEAM}")
    node.kubectl("delete", "namespace", TEAM, "--wait=false")


def _values() -> Object:
    registry, _, rest = thin.IMAGE.rpartition("/")
    repository, _, tag = rest.partition(":")
    volume, mount = volumes.environment_mount()
    images = {name: {"repository": repository} for name in ("operator", "service", "gpu")}
    return {
        "artifacts": {"kind": "volume", "volume": {"existingClaim": "artifacts"}},
        "images": {"registry": registry, "tag": tag, **images},
        "allPods": {"extraVolumes": [volume], "extraVolumeMounts": [mount]},
        "operator": {"sourcesRoot": f"file://{thin.MOUNTED_AT}/checkout/examples"},
    }


@pytest.fixture(scope="module")
def ready(release: Release) -> Release:
    release.node.kubectl(
        "wait",
        "--for=condition=Available",
        "deployments",
        "--all",
        f"-n={TEAM}",
        f"--timeout={READY_S}s",
    )
    return release


@pytest.mark.timeout(READY_S + 60)
def test_everything_that_is_installed_becomes_ready(ready: Release) -> None:
    pods = ready.get("pods")["items"]
    components = sorted(pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods)
    assert components == ["filtering", "generation", "operator", "training"]
    assert all(
        condition["status"] == "True"
        for pod in pods
        for condition in pod["status"]["conditions"]
        if condition["type"] == "Ready"
    )


def test_the_operator_holds_the_lease_of_its_release(ready: Release) -> None:
    holder = ready.get("lease", "r-operator")["spec"]["holderIdentity"]
    assert holder.startswith("r-operator-")


@pytest.mark.parametrize("row", HOSTILE_PLACES, ids=lambda row: row.label)
def test_a_place_that_no_run_may_use_ends_the_run_before_it_has_children(
    ready: Release, row: Hostile
) -> None:
    assert MODEL not in row.by
    name = f"hostile-{HOSTILE_PLACES.index(row)}"
    apply(ready.node, with_changes(row.run(), {"metadata": {"name": name, "namespace": TEAM}}))

    def condition() -> Object | None:
        conditions = ready.get("sfr", name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Stalled" and c["status"] == "True"), None)

    assert row.place.replace(".0.", "[0].") in until(condition)["message"]
    assert not ready.get("deployments,jobs,configmaps", f"-l=selfie.dev/run={name}")["items"]


def test_nothing_that_the_operator_asked_for_was_refused(ready: Release) -> None:
    # That all of its rights are used, and no others, is held against a whole run in test_fault_rights.
    account = f"{TEAM}:r-operator"
    asked = [event for event in ready.node.audit() if event.account == account]
    assert {"selfieruns", "selfieruns/status", "leases"} <= {event.rule[1] for event in asked}
    assert not {event.rule for event in asked if event.code == 403}
