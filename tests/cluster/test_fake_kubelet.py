"""Pods on the fake node, as controllers and API server of the control plane see them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.fake_kubelet import FakeKubelet
from cluster.fake_pods import FakePod, fail, hang, serve, succeed
from cluster.pod_statuses import Exit, Waiting
from cluster.running import Cluster
from clusters import apply, found
from selfie.errors import Unavailable
from waiting import until


@pytest.fixture
def node(control_plane: Cluster) -> Iterator[FakeKubelet]:
    with FakeKubelet(control_plane) as running:
        yield running
    control_plane.kubectl(
        "delete", "pods,jobs,deployments", "--all", "--all-namespaces", "--wait=false", "--force"
    )


def _pod(name: str, *, grace: int = 30, selector: dict[str, str] | None = None) -> dict[str, Any]:
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace,
        "nodeSelector": selector or {},
        "containers": [{"name": "main", "image": "none", "env": [{"name": "STEP", "value": "train"}]}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _job(name: str, **spec: Any) -> dict[str, Any]:
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}
    wanted = {"backoffLimit": 0, "template": pod, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": wanted}


def _start(cluster: Cluster, namespace: str, wanted: dict[str, Any]) -> None:
    apply(cluster, {**wanted, "metadata": {**wanted["metadata"], "namespace": namespace}})


def _status(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    return dict(found(cluster, "pod", name, f"-n={namespace}")["status"])


def _reaches(cluster: Cluster, namespace: str, name: str, phase: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        status = _status(cluster, namespace, name)
        return status if status["phase"] == phase else None

    return until(look)


def _condition(status: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((entry for entry in status["conditions"] if entry["type"] == name), None)


def test_a_job_completes_when_its_pod_succeeds(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    _start(control_plane, namespace, _job("done"))
    control_plane.kubectl("wait", "--for=condition=Complete", "job/done", f"-n={namespace}", "--timeout=60s")


def test_a_deployment_becomes_available_and_its_pods_serve_until_it_goes(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    control_plane.kubectl("create", "deployment", "web", "--image=none", "--replicas=2", f"-n={namespace}")
    control_plane.kubectl("rollout", "status", "deployment/web", f"-n={namespace}", "--timeout=60s")
    control_plane.kubectl("delete", "deployment", "web", f"-n={namespace}")
    until(lambda: not found(control_plane, "pods", f"-n={namespace}")["items"])


def test_a_failing_pod_says_its_code_and_reason_and_its_log_is_served(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    node.run = fail(3, log="loss is not a number", reason="OOMKilled")
    _start(control_plane, namespace, _pod("broken"))
    status = _reaches(control_plane, namespace, "broken", "Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "OOMKilled")
    log = control_plane.kubectl("logs", "broken", f"-n={namespace}", "--tail=1")
    assert log == "loss is not a number\n"


def test_code_of_the_test_decides_a_pods_fate_by_what_it_is(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    async def program(pod: FakePod) -> Exit:
        return Exit(0 if pod.environment["STEP"] == "train" and pod.name == "good" else 7)

    node.run = program
    _start(control_plane, namespace, _pod("good"))
    _start(control_plane, namespace, _pod("bad"))
    _reaches(control_plane, namespace, "good", "Succeeded")
    _reaches(control_plane, namespace, "bad", "Failed")


def test_a_deleted_pod_gets_its_grace_to_finish_in(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    finished = []

    async def program(pod: FakePod) -> Exit:
        await pod.stopping.wait()
        await asyncio.sleep(0.3)
        finished.append(pod.name)
        return Exit(0)

    node.run = program
    _start(control_plane, namespace, _pod("polite"))
    _reaches(control_plane, namespace, "polite", "Running")
    control_plane.kubectl("delete", "pod", "polite", f"-n={namespace}", "--timeout=60s")
    assert finished == ["polite"]


def test_a_pod_that_does_not_listen_is_killed_when_its_grace_is_over(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    node.run = hang
    _start(control_plane, namespace, _pod("deaf", grace=1))
    _reaches(control_plane, namespace, "deaf", "Running")
    control_plane.kubectl("delete", "pod", "deaf", f"-n={namespace}", "--timeout=60s")
    with pytest.raises(Unavailable, match="NotFound"):
        _status(control_plane, namespace, "deaf")


def test_an_evicted_pod_is_a_disruption_that_a_job_does_not_charge(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    node.run = serve
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    _start(control_plane, namespace, _job("spot", podFailurePolicy={"rules": rules}))

    def pods() -> list[str]:
        listed = found(control_plane, "pods", f"-n={namespace}")["items"]
        return [pod["metadata"]["name"] for pod in listed if pod["status"]["phase"] == "Running"]

    first = until(pods)[0]
    node.run = succeed
    node.evict(namespace, first)
    status = _reaches(control_plane, namespace, first, "Failed")
    assert status["reason"] == "Evicted"
    assert _condition(status, "DisruptionTarget")
    control_plane.kubectl("wait", "--for=condition=Complete", "job/spot", f"-n={namespace}", "--timeout=60s")


def test_a_killed_container_of_a_pod_that_is_kept_alive_starts_again(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    wanted = _pod("engine")
    wanted["spec"]["restartPolicy"] = "Always"
    _start(control_plane, namespace, wanted)
    _reaches(control_plane, namespace, "engine", "Running")
    node.kill(namespace, "engine", Exit(137, "OOMKilled"))

    def restarted() -> dict[str, Any] | None:
        status = _status(control_plane, namespace, "engine")["containerStatuses"][0]
        return status if status["restartCount"] == 1 and status["ready"] else None

    assert until(restarted)["lastState"]["terminated"]["reason"] == "OOMKilled"


def test_an_image_that_cannot_be_pulled_holds_a_pod_until_it_can(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    node.waits = lambda pod: Waiting("ImagePullBackOff", "no such image")
    _start(control_plane, namespace, _pod("stuck"))

    def reason() -> str | None:
        containers = _status(control_plane, namespace, "stuck").get("containerStatuses", ())
        return next((entry["state"].get("waiting", {}).get("reason") for entry in containers), None)

    assert until(reason) == "ImagePullBackOff"
    node.waits = lambda pod: None
    _reaches(control_plane, namespace, "stuck", "Succeeded")


def test_a_pod_that_asks_for_another_kind_of_node_stays_unschedulable(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    _start(control_plane, namespace, _pod("picky", selector={"pool": "gpu"}))

    def condition() -> dict[str, Any] | None:
        status = _status(control_plane, namespace, "picky")
        return _condition(status, "PodScheduled") if "conditions" in status else None

    assert until(condition)["reason"] == "Unschedulable"
    node.labels["pool"] = "gpu"
    _reaches(control_plane, namespace, "picky", "Succeeded")


def test_pods_go_on_when_the_api_server_comes_back(
    control_plane: Cluster, node: FakeKubelet, namespace: str
) -> None:
    may_end = asyncio.Event()

    async def program(pod: FakePod) -> Exit:
        while not may_end.is_set():
            await asyncio.sleep(0.05)
        return Exit()

    node.run = program
    _start(control_plane, namespace, _job("long"))
    until(node.pods)
    control_plane.kill("kube-apiserver")
    may_end.set()
    control_plane.start("kube-apiserver")
    control_plane.kubectl("wait", "--for=condition=Complete", "job/long", f"-n={namespace}", "--timeout=60s")


def test_a_node_that_comes_back_lets_go_of_a_pod_that_had_ended(
    control_plane: Cluster, namespace: str
) -> None:
    with FakeKubelet(control_plane):
        _start(control_plane, namespace, _pod("old"))
        _reaches(control_plane, namespace, "old", "Succeeded")
    with FakeKubelet(control_plane):
        control_plane.kubectl("delete", "pod", "old", f"-n={namespace}", "--timeout=60s")


def test_a_program_with_a_bug_fails_the_test(control_plane: Cluster, namespace: str) -> None:
    async def program(pod: FakePod) -> Exit:
        raise ZeroDivisionError

    def run() -> None:
        with FakeKubelet(control_plane, run=program, name="buggy-node") as node:
            _start(control_plane, namespace, _pod("unlucky"))
            until(node.pods)
            until(lambda: node.failures)

    with pytest.raises(ExceptionGroup) as raised:
        run()
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
