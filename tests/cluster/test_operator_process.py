"""Operator processes on a real API server: who writes, who takes over, and who must not any more."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import counting_operator
from cluster.audit import Event
from cluster.running import Cluster
from clusters import apply, found
from waiting import until

QUICK = {"duration": 3.0, "renew": 2.0, "retry": 0.5}
REAL = {"duration": 15.0, "renew": 10.0, "retry": 2.0}
WRITES = {"create", "update", "patch", "delete"}

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "selfieruns.selfie.dev"},
    "spec": {
        "group": "selfie.dev",
        "scope": "Namespaced",
        "names": {"kind": "SelfieRun", "plural": "selfieruns", "singular": "selfierun"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


@dataclass
class Operators:
    """Operator processes of one namespace, by identity; all end with the test."""

    cluster: Cluster
    namespace: str
    folder: Path
    terms: dict[str, float]
    processes: dict[str, subprocess.Popen[bytes]]

    def start(self, identity: str) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "SELFIE_KUBECONFIG": str(self.cluster.kubeconfig),
            "SELFIE_NAMESPACE": self.namespace,
            "SELFIE_IDENTITY": identity,
            "SELFIE_PORT": "0",
            "SELFIE_PORT_FILE": str(self.folder / identity),
            "SELFIE_API_SECONDS": "5",
            **{f"SELFIE_LEASE_{name.upper()}_SECONDS": str(value) for name, value in self.terms.items()},
        }
        with (self.folder / f"{identity}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, counting_operator.__file__], env=environment, stderr=log
            )
        self.processes[identity] = process
        return process

    def ask(self, identity: str, path: str) -> str:
        port = json.loads((self.folder / identity).read_text())["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def holder(self) -> str:
        leases = found(self.cluster, "leases", f"-n={self.namespace}")["items"]
        return (leases[0]["spec"].get("holderIdentity") or "").partition("_")[0] if leases else ""

    def leads(self, identity: str) -> None:
        until(lambda: self.holder() == identity and self.writes(identity), seconds=60)

    def writes(self, identity: str) -> list[Event]:
        """Successful writes, without those to its own Lease."""
        return [
            event
            for event in self.cluster.audit()
            if event.agent == f"selfie-operator/{identity}"
            and event.namespace == self.namespace
            and event.verb in WRITES
            and event.code < 300
        ]

    def log(self, identity: str) -> str:
        return (self.folder / f"{identity}.log").read_text()


@pytest.fixture
def operators(control_plane: Cluster, namespace: str, tmp_path: Path) -> Iterator[Operators]:
    apply(control_plane, CRD)
    control_plane.kubectl("wait", "--for=condition=Established", "crd/selfieruns.selfie.dev")
    metadata = {"name": "r", "namespace": namespace}
    apply(control_plane, {"apiVersion": "selfie.dev/v1alpha1", "kind": "SelfieRun", "metadata": metadata})
    started = Operators(control_plane, namespace, tmp_path, QUICK, {})
    yield started
    for process in started.processes.values():
        process.kill()
        process.wait()


def test_a_leader_reconciles_and_says_so(operators: Operators):
    operators.start("a")
    operators.leads("a")
    assert operators.ask("a", "/healthz") == "ok\n"
    until(lambda: operators.ask("a", "/readyz") == "ok\n")
    until(lambda: 'selfie_operator_reconcile_total{result="success"}' in operators.ask("a", "/metrics"))
    metrics = operators.ask("a", "/metrics")
    assert "selfie_operator_is_leader 1.0" in metrics
    assert 'selfie_operator_api_requests_total{code="201",resource="configmaps",verb="create"} 1.0' in metrics


def test_a_transition_is_one_event_of_its_run(operators: Operators):
    operators.start("a")

    def look() -> Any:
        return found(operators.cluster, "events.v1.events.k8s.io", f"-n={operators.namespace}")["items"]

    (event,) = until(look)
    assert event["regarding"]["name"] == "r"
    assert (event["reason"], event["note"]) == ("Seen", "seen by a")


def test_on_sigterm_it_gives_the_lease_up_and_the_next_one_leads_at_once(operators: Operators):
    first = operators.start("a")
    operators.leads("a")
    operators.start("b")
    until(lambda: "serving" in operators.log("b"))
    first.terminate()
    assert first.wait(30) == 0
    operators.leads("b")
    last, begun = operators.writes("a")[-1].moment, operators.writes("b")[0].moment
    assert last < begun


def test_when_it_is_killed_the_next_one_takes_over(operators: Operators):
    first = operators.start("a")
    operators.leads("a")
    operators.start("b")
    until(lambda: "serving" in operators.log("b"))
    first.kill()
    operators.leads("b")


@pytest.mark.parametrize(
    ("terms", "pause_s"), [(QUICK, 8), pytest.param(REAL, 60, marks=[pytest.mark.faults])]
)
@pytest.mark.timeout(240)
async def test_a_leader_that_was_stopped_writes_nothing_when_it_wakes_up(
    operators: Operators, terms: dict[str, float], pause_s: float
):
    operators.terms = terms
    first = operators.start("a")
    await asyncio.to_thread(operators.leads, "a")
    operators.start("b")
    await asyncio.to_thread(until, lambda: "serving" in operators.log("b"))
    first.send_signal(signal.SIGSTOP)
    before = len(operators.writes("a"))
    await asyncio.sleep(pause_s)
    await asyncio.to_thread(operators.leads, "b")
    first.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(first.wait, 30) == 1
    after = operators.writes("a")
    assert len(after) <= before + 1
    assert after[-1].moment < operators.writes("b")[0].moment
    assert operators.holder() == "b"


def test_a_leader_without_a_server_ends_and_the_next_process_goes_on(operators: Operators):
    first = operators.start("a")
    operators.leads("a")
    operators.cluster.pause("kube-apiserver")
    try:
        assert first.wait(30) == 1
    finally:
        operators.cluster.resume("kube-apiserver")
    operators.start("b")
    operators.leads("b")


def test_a_server_that_is_soon_back_is_gone_on_with(operators: Operators):
    operators.terms = {"duration": 60.0, "renew": 45.0, "retry": 0.5}
    first = operators.start("a")
    operators.leads("a")
    operators.cluster.restart("kube-apiserver")
    before = len(operators.writes("a"))
    until(lambda: len(operators.writes("a")) > before + 3)
    assert first.poll() is None
