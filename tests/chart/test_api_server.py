"""A real API server takes what the chart makes, by Helm 3 and 4, and all of it goes again."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from charts import CHART, VALUES, Helm, Refused, found_helm
from cluster.running import Cluster
from clusters import apply, found, started_or_skipped
from foreign_kinds import define_foreign_kinds

FILES = {**VALUES, "local": CHART / "values-local.yaml", "gpu": CHART / "values-gpu.yaml"}
NEEDED = {"gpu": ("--set=artifacts.uri=s3://bucket/selfie",)}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
DEFINITION = "selfieruns.selfie.dev"
# What every namespace has.
NOT_OURS = {"default", "kube-root-ca.crt"}


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Cluster]:
    with started_or_skipped("control-plane") as cluster:
        define_foreign_kinds(cluster)
        yield cluster


@pytest.fixture
def namespace(control_plane: Cluster) -> str:
    name = f"test-{secrets.token_hex(4)}"
    apply(
        control_plane,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}},
    )
    control_plane.kubectl("wait", "--for=create", "serviceaccount/default", f"-n={name}", "--timeout=60s")
    return name


@pytest.fixture(params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest, control_plane: Cluster) -> Helm:
    return found_helm(control_plane.kubeconfig, which=request.param)


def left_behind(cluster: Cluster, namespace: str) -> dict[str, set[str]]:
    """Names of what is in the namespace, by kind."""
    kinds = (
        "deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,persistentvolumeclaims,"
        "networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,jobs,"
        "servicemonitors,podmonitors,prometheusrules,certificates"
    )
    items: list[Any] = found(cluster, kinds, f"-n={namespace}")["items"]
    names: dict[str, set[str]] = {}
    for item in items:
        if item["metadata"]["name"] not in NOT_OURS and "deletionTimestamp" not in item["metadata"]:
            names.setdefault(item["kind"], set()).add(item["metadata"]["name"])
    return names


@pytest.mark.parametrize("name", FILES)
def test_the_api_server_would_take_every_object(
    control_plane: Cluster, helm: Helm, namespace: str, name: str
) -> None:
    flags = (f"-n={namespace}", f"-f={FILES[name]}", *NEEDED.get(name, ()))
    text = helm.run("template", "r", str(CHART), "--skip-tests", "--kube-version=1.36.3", *flags)
    told = control_plane.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        f"-n={namespace}",
        "-f",
        "-",
        given=text,
    )
    assert len(told.splitlines()) > 20
    assert all(line.endswith(" serverside-applied (server dry run)") for line in told.splitlines()), told


def test_it_is_installed_upgraded_rolled_back_and_leaves_behind_what_it_says(
    control_plane: Cluster, helm: Helm, namespace: str
) -> None:
    values = f"-f={VALUES['everything']}"
    helm.run("install", "r", str(CHART), f"-n={namespace}", values, "--set=crds.keep=true")
    before = left_behind(control_plane, namespace)
    assert {"Deployment", "PrometheusRule", "Certificate", "NetworkPolicy"} <= set(before)
    helm.run(
        "upgrade", "r", str(CHART), f"-n={namespace}", values, "--set=monitoring.dashboards.enabled=false"
    )
    assert not [name for name in left_behind(control_plane, namespace)["ConfigMap"] if "dashboard" in name]
    helm.run("rollback", "r", "1", f"-n={namespace}")
    after = left_behind(control_plane, namespace)
    assert {kind: names for kind, names in after.items() if kind != "Secret"} == {
        kind: names for kind, names in before.items() if kind != "Secret"
    }
    helm.run("uninstall", "r", f"-n={namespace}", "--wait", "--timeout=60s")
    assert left_behind(control_plane, namespace) == {}
    assert found(control_plane, "crd", DEFINITION)["metadata"]["name"] == DEFINITION
    control_plane.kubectl("delete", "crd", DEFINITION)


def test_a_volume_that_is_to_be_kept_stays_with_its_artifacts(
    control_plane: Cluster, helm: Helm, namespace: str
) -> None:
    helm.run("install", "r", str(CHART), f"-n={namespace}", f"-f={VALUES['volume']}")
    helm.run("uninstall", "r", f"-n={namespace}", "--wait", "--timeout=60s")
    assert left_behind(control_plane, namespace) == {"PersistentVolumeClaim": {"r-artifacts"}}
    control_plane.kubectl("delete", "crd", DEFINITION)


def test_a_definition_that_is_not_to_be_kept_goes(control_plane: Cluster, helm: Helm, namespace: str) -> None:
    flags = (f"-f={VALUES['object-store']}", "--set=crds.keep=false")
    helm.run("install", "r", str(CHART), f"-n={namespace}", *flags)
    helm.run("uninstall", "r", f"-n={namespace}", "--wait", "--timeout=60s")
    names = [item["metadata"]["name"] for item in found(control_plane, "crd")["items"]]
    assert DEFINITION not in names


def test_a_second_release_on_the_cluster_leaves_the_definition_alone(
    control_plane: Cluster, helm: Helm, namespace: str
) -> None:
    helm.run(
        "install",
        "first",
        str(CHART),
        f"-n={namespace}",
        f"-f={VALUES['object-store']}",
        "--set=crds.keep=false",
    )
    other = f"{namespace}-b"
    apply(control_plane, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    flags = (f"-n={other}", f"-f={VALUES['object-store']}")
    with pytest.raises(Refused, match="selfieruns"):
        helm.run("install", "second", str(CHART), *flags)
    helm.run("install", "third", str(CHART), *flags, "--set=crds.enabled=false")
    helm.run("uninstall", "third", f"-n={other}", "--wait", "--timeout=60s")
    assert found(control_plane, "crd", DEFINITION)["metadata"]["name"] == DEFINITION
    helm.run("uninstall", "first", f"-n={namespace}", "--wait", "--timeout=60s")
