"""The control plane as a tool: what it enforces, how it breaks, and that nothing of it stays."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cluster.running import Cluster
from clusters import apply, found, started_or_skipped
from selfie.errors import FailedPrecondition, Unavailable
from waiting import until


def test_an_account_may_do_only_what_its_role_says(control_plane: Cluster, namespace: str) -> None:
    account = f"--as=system:serviceaccount:{namespace}:default"
    with pytest.raises(Unavailable, match="Forbidden"):
        control_plane.kubectl("get", "pods", f"-n={namespace}", account)
    control_plane.kubectl(
        "create",
        "rolebinding",
        "view",
        "--clusterrole=view",
        f"--serviceaccount={namespace}:default",
        f"-n={namespace}",
    )
    control_plane.kubectl("get", "pods", f"-n={namespace}", account)


def test_a_namespace_that_asks_for_it_enforces_restricted_pod_security(
    control_plane: Cluster, namespace: str
) -> None:
    control_plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    with pytest.raises(Unavailable, match="violates PodSecurity"):
        control_plane.kubectl("run", "root", "--image=none", f"-n={namespace}")


def test_a_token_of_an_account_is_signed_for_its_audience(control_plane: Cluster, namespace: str) -> None:
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": ["selfie.dev"], "expirationSeconds": 600},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    answer = json.loads(control_plane.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(asked)))
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": answer["status"]["token"], "audiences": ["selfie.dev"]},
    }
    seen = json.loads(control_plane.kubectl("create", "-f", "-", "--output=json", given=json.dumps(review)))
    assert seen["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:default"


def test_children_go_with_their_owner(control_plane: Cluster, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "parent", f"-n={namespace}")
    parent = found(control_plane, "configmap", "parent", f"-n={namespace}")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": parent["metadata"]["uid"]}
    metadata = {"name": "child", "namespace": namespace, "ownerReferences": [owner]}
    apply(control_plane, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    control_plane.kubectl("delete", "configmap", "parent", f"-n={namespace}")
    control_plane.kubectl("wait", "--for=delete", "configmap/child", f"-n={namespace}", "--timeout=60s")


def test_the_audit_log_tells_which_rule_an_account_has_used(control_plane: Cluster, namespace: str) -> None:
    with pytest.raises(Unavailable):
        control_plane.kubectl(
            "get", "secrets", f"-n={namespace}", f"--as=system:serviceaccount:{namespace}:default"
        )
    asked = [event for event in control_plane.audit() if event.namespace == namespace and event.agent]
    refused = next(event for event in asked if event.code == 403)
    assert refused.rule == ("", "secrets", "list")


@pytest.mark.parametrize(("component", "times"), [("kube-apiserver", 3), ("etcd", 2)])
def test_what_was_written_is_there_after_kills(
    control_plane: Cluster, namespace: str, component: str, times: int
) -> None:
    for number in range(times):
        control_plane.kubectl("create", "configmap", f"kept-{number}", f"-n={namespace}")
        control_plane.restart(component)
        kept = until(lambda: _names(control_plane, namespace))
        assert f"kept-{number}" in kept


def test_a_paused_api_server_answers_nobody_until_it_is_resumed(control_plane: Cluster) -> None:
    control_plane.pause("kube-apiserver")
    try:
        with pytest.raises(Unavailable):
            control_plane.kubectl("get", "namespaces", "--request-timeout=1s")
    finally:
        control_plane.resume("kube-apiserver")
    control_plane.kubectl("get", "namespaces")


def test_a_killed_component_stays_dead_until_it_is_started(control_plane: Cluster) -> None:
    control_plane.kill("kube-controller-manager")
    assert "kube-controller-manager" not in control_plane.pids()
    control_plane.start("kube-controller-manager")
    assert "kube-controller-manager" in control_plane.pids()


def test_an_unknown_component_is_refused_by_name(control_plane: Cluster) -> None:
    with pytest.raises(Unavailable, match="no component kublet"):
        control_plane.kill("kublet")


def test_several_clusters_run_side_by_side(control_plane: Cluster) -> None:
    with started_or_skipped("control-plane") as other:
        other.kubectl("create", "namespace", "only-here")
        with pytest.raises(Unavailable, match="NotFound"):
            control_plane.kubectl("get", "namespace", "only-here")


def test_a_cluster_that_has_ended_leaves_no_process_and_no_file() -> None:
    with started_or_skipped("control-plane") as cluster:
        pids = [cluster.keeper.pid, *cluster.pids().values()]
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not cluster.layout.root.exists()


@pytest.mark.parametrize("victim", ["owner", "keeper"])
def test_a_kill_of_what_a_cluster_hangs_on_leaves_no_process(victim: str) -> None:
    with started_or_skipped("control-plane"):
        pass  # Skips where there can be none.
    program = """
        import sys, time
        from cluster.running import started
        with started("control-plane") as cluster:
            print(cluster.plan.directory, cluster.keeper.pid, *cluster.pids().values(), flush=True)
            time.sleep(600)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert owner.stdout
    directory, keeper, *components = owner.stdout.readline().split()
    try:
        os.kill(owner.pid if victim == "owner" else int(keeper), signal.SIGKILL)
        until(lambda: not [pid for pid in (keeper, *components) if _runs(int(pid))])
        if victim == "owner":
            until(lambda: not Path(directory).exists())
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


def test_a_start_that_fails_quotes_the_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "etcd"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "etcd Version: 3.6.0" && exit\necho "disk is full"\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with (
        pytest.raises(FailedPrecondition, match=r"(?s)etcd did not come up.*disk is full"),
        started_or_skipped("control-plane"),
    ):
        pass


def _names(cluster: Cluster, namespace: str) -> list[str]:
    listed = found(cluster, "configmaps", f"-n={namespace}")["items"]
    return [entry["metadata"]["name"] for entry in listed]


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
