"""Who may reach whom, worked out from the policies as the chart makes them."""

from collections.abc import Mapping
from typing import Any

import pytest

from charts import VALUES, Rendered, found_helm
from policies import PLAIN, TEAM, Pod, allows, reaches
from selfie.kube.labels import child_labels
from selfie.kube.pods import GRPC_PORT, METRICS_PORT

APPS, MONITORING, ELSEWHERE = "apps", "monitoring", "elsewhere"
RUN: dict[str, Any] = {"metadata": {"name": "toy", "namespace": TEAM, "uid": "u"}}


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return found_helm().rendered(VALUES["everything"])


@pytest.fixture(scope="module")
def pods(rendered: Rendered) -> dict[str, Pod]:
    """Those of the release by component, those of a run as they are made, and strangers."""
    found = {
        name.removeprefix("aligned-"): entry["spec"]["template"]["metadata"]["labels"]
        for name, entry in rendered.of("Deployment").items()
    }
    found["engine"] = child_labels(RUN, "engine")
    found["scoring"] = child_labels(RUN, "scoring")
    [trial] = rendered.of("Pod").values()
    found["trial"] = trial["metadata"]["labels"]
    found["trainer"] = child_labels(RUN, "trainer", managed_by="selfie-training")
    ours = {name: Pod(name, TEAM, labels) for name, labels in found.items()}
    strangers = {name: Pod(name, name, {}) for name in (APPS, MONITORING, ELSEWHERE)}
    return {**ours, **strangers, "neighbour": Pod("neighbour", TEAM, {"app": "other"})}


CALLS = {
    ("operator", "generation"),
    ("operator", "filtering"),
    ("operator", "training"),
    ("operator", "engine"),
    ("operator", "scoring"),
    ("generation", "engine"),
    # An engine of another maker is held against the run's judge.
    ("generation", "scoring"),
    ("trainer", "trainer"),
    (APPS, "scorer"),
    # `helm test`.
    ("trial", "scorer"),
}


def test_each_is_called_by_exactly_those_who_call_it(rendered: Rendered, pods: Mapping[str, Pod]) -> None:
    servers = [name for name in pods if name not in (APPS, MONITORING, ELSEWHERE, "neighbour", "operator")]
    open_to = {
        (source, target)
        for source in pods
        for target in servers
        if reaches(rendered, pods[source], pods[target], GRPC_PORT)
    }
    assert open_to == CALLS


def test_those_who_may_call_are_those_whose_tokens_are_taken(
    rendered: Rendered, pods: Mapping[str, Pod]
) -> None:
    told = {
        server: rendered.environment(f"aligned-{server}")["SELFIE_CALLERS"]
        for server in ("generation", "filtering", "training")
    }
    run = {
        part: entry["value"]
        for part in ("engine", "scoring")
        for entry in rendered.run_pods()[part]["env"]
        if entry["name"] == "SELFIE_CALLERS"
    }
    callers = {
        (caller, server)
        for server, subjects in {**told, **run}.items()
        for caller in ("operator", "generation", "filtering", "training")
        if f":aligned-{caller}" in subjects
    }
    assert callers == {call for call in CALLS if call[1] not in ("trainer", "scorer")}


@pytest.mark.parametrize("name", ["generation", "filtering", "training", "scorer", "engine", "scoring"])
def test_prometheus_reads_metrics_and_nobody_else_does(
    rendered: Rendered, pods: Mapping[str, Pod], name: str
) -> None:
    readers = {other for other in pods if reaches(rendered, pods[other], pods[name], METRICS_PORT)}
    assert readers == {MONITORING}


def test_the_operators_metrics_are_prometheus_alone(rendered: Rendered, pods: Mapping[str, Pod]) -> None:
    assert {other for other in pods if reaches(rendered, pods[other], pods["operator"], PLAIN)} == {
        MONITORING
    }


def test_an_engine_of_another_maker_is_reached_by_generation_and_prometheus(
    rendered: Rendered, pods: Mapping[str, Pod]
) -> None:
    readers = {other for other in pods if reaches(rendered, pods[other], pods["engine"], PLAIN)}
    assert readers == {"generation", MONITORING}


@pytest.mark.parametrize("port", [443, 6443, 53])
def test_all_reach_names_the_api_server_and_the_store(
    rendered: Rendered, pods: Mapping[str, Pod], port: int
) -> None:
    outside = Pod("outside", "nowhere", {})
    ours = [pod for pod in pods.values() if pod.labels.get("app.kubernetes.io/name") == "selfie"]
    assert all(allows(rendered, pod, outside, port, "Egress") for pod in ours)
    assert not any(allows(rendered, pod, outside, 80, "Egress") for pod in ours)


def test_without_the_switch_there_is_no_policy() -> None:
    assert not found_helm().rendered(VALUES["volume"]).of("NetworkPolicy")
