"""The chart in a namespace that enforces restricted Pod Security, on a real API server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from charts import CHART, VALUES, Helm, Rendered, found_helm
from cluster.running import Cluster
from clusters import apply, found
from foreign_kinds import define_foreign_kinds
from raw_api import RawApi
from selfie.errors import Unavailable
from selfie.kube.pod_settings import PodSettings
from selfie.kube.pods import Container, pod_metadata, pod_spec
from waiting import until

TEAM = "team"
CLASSES = ("batch", "system", "gpu")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
QUICKSTART = Path(__file__).parents[2] / "examples/quickstart.yaml"


@dataclass(frozen=True)
class Release:
    """What is installed, and as what."""

    cluster: Cluster
    helm: Helm
    api: RawApi
    rendered: Rendered


@pytest.fixture(scope="module")
def release(control_plane: Cluster) -> Iterator[Release]:
    """Every branch of the chart, installed by Helm."""
    helm = found_helm(control_plane.kubeconfig)
    apply(control_plane, *_surroundings())
    define_foreign_kinds(control_plane)
    control_plane.kubectl("wait", "--for=create", "serviceaccount/default", f"-n={TEAM}", "--timeout=60s")
    helm.run("install", "r", str(CHART), f"-n={TEAM}", f"-f={VALUES['everything']}")
    with RawApi(control_plane.kubeconfig) as api:
        yield Release(control_plane, helm, api, helm.rendered(VALUES["everything"]))


def _surroundings() -> list[dict[str, Any]]:
    """What the values name and a cluster's administrator has made."""
    team = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM, "labels": RESTRICTED}}
    classes = [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": 10,
        }
        for name in CLASSES
    ]
    handler = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nvidia"},
        "handler": "nvidia",
    }
    return [team, *classes, handler]


def test_every_pod_of_the_release_is_let_in(release: Release) -> None:
    # Nobody here scales the one that says no number.
    wanted = {
        name: entry["spec"].get("replicas", 1) for name, entry in release.rendered.of("Deployment").items()
    }

    def all_made() -> bool:
        items = found(release.cluster, "replicasets", f"-n={TEAM}")["items"]
        made = {
            entry["metadata"]["ownerReferences"][0]["name"]: entry["status"].get("replicas")
            for entry in items
        }
        return made == wanted

    until(all_made)


@pytest.mark.parametrize("part", ["engine", "scoring", "trainer"])
def test_the_pods_of_runs_are_let_in(release: Release, part: str) -> None:
    settings = getattr(PodSettings.model_validate(release.rendered.run_pods()), part)
    container = Container(part, f"selfie.{part}", ["--flag"], grpc_service="selfie.v1.EngineService")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": part, **pod_metadata(settings, {"selfie.dev/run": "toy"})},
        "spec": pod_spec(settings, container, before=[container_named("pull", container)]),
    }
    answer = release.api.ask(
        "POST", f"/api/v1/namespaces/{TEAM}/pods", pod, dryRun="All", fieldValidation="Strict"
    )
    assert answer.code == 201, answer.body
    assert not answer.warnings


def container_named(name: str, container: Container) -> Container:
    return Container(name, container.module, container.arguments)


ALLOWED = [
    ("operator", "selfie.dev", "selfieruns", "watch"),
    ("operator", "selfie.dev", "selfieruns/status", "update"),
    ("operator", "apps", "deployments", "create"),
    ("operator", "", "configmaps", "create"),
    ("operator", "coordination.k8s.io", "leases", "update"),
    ("operator", "events.k8s.io", "events", "create"),
    ("training", "selfie.dev", "selfieruns", "get"),
    ("training", "", "configmaps", "get"),
    ("training", "batch", "jobs", "create"),
    ("training", "", "pods/log", "get"),
]
FORBIDDEN = [
    *(
        (account, group, resource, verb)
        for account in ("operator", "training", "generation", "filtering", "engine", "scoring", "trainer")
        for group, resource, verb in (
            ("", "secrets", "get"),
            ("", "secrets", "list"),
            ("", "pods", "create"),
            ("", "pods/exec", "create"),
            ("", "serviceaccounts/token", "create"),
            ("rbac.authorization.k8s.io", "roles", "escalate"),
            ("rbac.authorization.k8s.io", "rolebindings", "create"),
            ("selfie.dev", "selfieruns", "create"),
            ("selfie.dev", "selfieruns", "patch"),
            ("selfie.dev", "selfieruns", "update"),
        )
    ),
    ("operator", "batch", "jobs", "create"),
    ("operator", "", "configmaps", "update"),
    ("training", "", "configmaps", "create"),
    ("training", "apps", "deployments", "create"),
    ("training", "selfie.dev", "selfieruns/status", "update"),
    ("training", "batch", "jobs", "update"),
    ("engine", "selfie.dev", "selfieruns", "get"),
    ("trainer", "selfie.dev", "selfieruns", "get"),
]


def may(release: Release, account: str, group: str, resource: str, verb: str, namespace: str = TEAM) -> bool:
    name, _, subresource = resource.partition("/")
    asked = {"group": group, "resource": name, "verb": verb, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{TEAM}:aligned-{account}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{TEAM}", "system:authenticated"],
            "resourceAttributes": asked | ({"subresource": subresource} if subresource else {}),
        },
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(release.api.ask("POST", path, review).body["status"]["allowed"])


@pytest.mark.parametrize("right", ALLOWED, ids=" ".join)
def test_an_account_may_do_its_work_in_its_own_namespace_alone(
    release: Release, right: tuple[str, str, str, str]
) -> None:
    assert may(release, *right)
    assert not may(release, *right, namespace="default")


@pytest.mark.parametrize("right", FORBIDDEN, ids=" ".join)
def test_an_account_may_do_nothing_else(release: Release, right: tuple[str, str, str, str]) -> None:
    assert not may(release, *right)


@pytest.mark.parametrize(
    ("verb", "who", "answer"),
    [
        ("create", ("--as=somebody", "--as-group=team"), "yes"),
        ("list", ("--as=auditor",), "yes"),
        ("create", ("--as=auditor",), "no"),
        ("list", ("--as=nobody",), "no"),
    ],
)
def test_people_have_the_rights_that_the_values_give_them(
    release: Release, verb: str, who: tuple[str, ...], answer: str
) -> None:
    asked = ("auth", "can-i", verb, "selfieruns.selfie.dev", f"-n={TEAM}", *who)
    assert told_by_kubectl(release.cluster, asked) == answer


def told_by_kubectl(cluster: Cluster, asked: tuple[str, ...]) -> str:
    try:
        return cluster.kubectl(*asked).strip()
    except Unavailable:
        # kubectl ends with 1 where the answer is no.
        return "no"


def test_a_run_can_be_applied_at_once(release: Release) -> None:
    release.cluster.kubectl("apply", "-f", str(QUICKSTART), f"-n={TEAM}")
    applied = found(release.cluster, "sfr", "quickstart", f"-n={TEAM}")
    assert applied["spec"]["training"]["refinement"] == "online"


def test_another_release_of_the_cluster_leaves_the_definition_to_the_first(release: Release) -> None:
    changes = ("--set=crds.enabled=false", "--create-namespace", f"-f={VALUES['object-store']}")
    release.helm.run("install", "r", str(CHART), "-n=another", *changes)
    assert release.helm.run("list", "-n=another", "--short").strip() == "r"


def test_an_upgrade_to_the_same_changes_nothing(release: Release) -> None:
    def generations() -> dict[str, int]:
        items = found(release.cluster, "deployments", f"-n={TEAM}")["items"]
        return {entry["metadata"]["name"]: entry["metadata"]["generation"] for entry in items}

    before = generations()
    release.helm.run("upgrade", "r", str(CHART), f"-n={TEAM}", f"-f={VALUES['everything']}")
    assert generations() == before


def test_what_an_uninstalled_release_leaves_is_its_artifacts_and_all_runs(
    control_plane: Cluster, release: Release
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "leaving"}}
    apply(control_plane, namespace)
    flags = ("-n=leaving", f"-f={VALUES['volume']}", "--set=crds.enabled=false")
    release.helm.run("install", "r", str(CHART), *flags)
    control_plane.kubectl("apply", "-f", str(QUICKSTART), "-n=leaving")
    release.helm.run("uninstall", "r", "-n=leaving", "--wait")
    kinds = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,pvc,sfr"
    items = json.loads(control_plane.kubectl("get", kinds, "-n=leaving", "--output=json"))["items"]
    left = {(entry["kind"], entry["metadata"]["name"]) for entry in items}
    assert left - {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")} == {
        ("PersistentVolumeClaim", "r-artifacts"),
        ("SelfieRun", "quickstart"),
    }
