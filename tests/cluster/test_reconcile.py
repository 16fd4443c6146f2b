"""Whole runs on a real API server with real controllers: pods are a fake node's, work is simulated."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.fake_kubelet import FakeKubelet
from cluster.running import Cluster
from clusters import apply, found
from releases import install_crd
from simulated_release import Killed
from simulated_work import working

ROOT = Path(__file__).resolve().parents[2]
RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: "hf://toy/model"}
  seed: {dataset: seed.jsonl, heldout: heldout.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl, count: 8}
  - prompts: {dataset: prompts.jsonl, from: 8, count: 8}
  - prompts: {dataset: prompts.jsonl, from: 16, count: 8}
"""
SUSPENDED_WITHIN_S = 60
EVERY = 23
"""Every so many moments the operator is killed: a prime, so that every kind of write has its turn."""


@pytest.fixture(scope="module", autouse=True)
def node(control_plane: Cluster) -> Iterator[FakeKubelet]:
    """One for all tests: another would meet the pods of the one before."""
    with FakeKubelet(control_plane) as kubelet:
        yield kubelet


@pytest.fixture
def prepared(control_plane: Cluster, namespace: str) -> str:
    """The namespace, with the CRD and the accounts of the release."""
    install_crd(control_plane)
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        for name in ("selfie-engine", "selfie-scoring")
    ]
    apply(control_plane, *accounts)
    return namespace


def submit(cluster: Cluster, namespace: str, **spec: Any) -> None:
    run = yaml.safe_load(RUN)
    run["metadata"]["namespace"] = namespace
    run["spec"].update(spec)
    apply(cluster, run)


async def kubectl(cluster: Cluster, *arguments: str) -> str:
    return await asyncio.to_thread(cluster.kubectl, *arguments)


async def left(cluster: Cluster, namespace: str) -> list[str]:
    items = (await asyncio.to_thread(found, cluster, "deployments,services,pods", f"-n={namespace}"))["items"]
    return [f"{item['kind']} {item['metadata']['name']}" for item in items]


async def nothing_is_left(cluster: Cluster, namespace: str) -> None:
    async with asyncio.timeout(SUSPENDED_WITHIN_S):
        while await left(cluster, namespace):
            await asyncio.sleep(0.5)


async def test_a_run_completes_and_leaves_nothing_but_its_status(control_plane: Cluster, prepared: str):
    async with working(control_plane.kubeconfig, prepared) as (surroundings, _):
        submit(control_plane, prepared)
        wait = ("wait", "sfr/toy", f"-n={prepared}", "--for=condition=Complete", "--timeout=150s")
        await kubectl(control_plane, *wait)
        await nothing_is_left(control_plane, prepared)
    assert max(surroundings.services.begun.values()) == 1
    run = found(control_plane, "sfr/toy", f"-n={prepared}")
    assert run["status"]["progress"] == "26/26"
    assert [entry["round"] for entry in run["status"]["rounds"]] == [0, 1, 2, 3]
    table = control_plane.kubectl("get", "sfr", f"-n={prepared}")
    assert "Completed" in table


async def test_a_status_is_written_as_often_as_something_happens(control_plane: Cluster, prepared: str):
    # What the CRD would cut from a status, the operator would write again at every look.
    async with working(control_plane.kubeconfig, prepared):
        submit(control_plane, prepared, rounds=[{"prompts": {"dataset": "prompts.jsonl", "count": 8}}])
        wait = ("wait", "sfr/toy", f"-n={prepared}", "--for=condition=Complete", "--timeout=150s")
        await kubectl(control_plane, *wait)
        await nothing_is_left(control_plane, prepared)
        before = found(control_plane, "sfr/toy", f"-n={prepared}")["metadata"]["resourceVersion"]
        await kubectl(control_plane, "label", "sfr/toy", f"-n={prepared}", "looked=at")
        await asyncio.sleep(3)
    run = found(control_plane, "sfr/toy", f"-n={prepared}")
    writes = [
        event
        for event in control_plane.audit()
        if event.resource == "selfieruns" and event.namespace == prepared and event.verb == "update"
    ]
    assert run["metadata"]["resourceVersion"] != before
    assert len(writes) < 45
    events = found(control_plane, "events.events.k8s.io", f"-n={prepared}")["items"]
    of_run = {entry["reason"] for entry in events if entry["regarding"]["kind"] == "SelfieRun"}
    assert {"Preparing", "Generating", "RoundFinished", "Completed"} <= of_run


async def test_a_suspended_run_holds_no_pod_and_goes_on_when_it_may(control_plane: Cluster, prepared: str):
    patch = ("patch", "sfr/toy", f"-n={prepared}", "--type=merge", "-p")
    async with working(control_plane.kubeconfig, prepared) as (surroundings, _):
        submit(control_plane, prepared)
        async with asyncio.timeout(90):
            while not any(name[1] == "rounds/01/generate" for name in surroundings.services.begun):
                await asyncio.sleep(0.1)
        await kubectl(control_plane, *patch, '{"spec": {"suspend": true}}')
        wait = ("wait", "sfr/toy", f"-n={prepared}", "--for=condition=Suspended", "--timeout=30s")
        await kubectl(control_plane, *wait)
        await nothing_is_left(control_plane, prepared)
        await kubectl(control_plane, *patch, '{"spec": {"suspend": false}}')
        wait = ("wait", "sfr/toy", f"-n={prepared}", "--for=condition=Complete", "--timeout=150s")
        await kubectl(control_plane, *wait)
    assert max(surroundings.services.published.values()) == 1


async def test_a_deleted_run_takes_all_that_it_owns_with_it(control_plane: Cluster, prepared: str):
    async with working(control_plane.kubeconfig, prepared):
        submit(control_plane, prepared)
        async with asyncio.timeout(90):
            while not any("Pod" in name for name in await left(control_plane, prepared)):
                await asyncio.sleep(0.2)
        await kubectl(control_plane, "delete", "sfr/toy", f"-n={prepared}", "--timeout=30s")
        await nothing_is_left(control_plane, prepared)
    maps = found(control_plane, "configmaps", f"-n={prepared}")["items"]
    assert not [entry for entry in maps if entry["metadata"]["name"].startswith("toy-")]


# Cancelled right before its TLS handshake, a connection is closed by nobody in CPython 3.11: a process
# that is killed leaves it to the kernel, and one that is only played here to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_an_operator_that_is_killed_again_and_again_does_nothing_twice(
    control_plane: Cluster, prepared: str
):
    async with working(control_plane.kubeconfig, prepared) as (surroundings, operator):
        moments = 0

        def here(what: str) -> None:
            nonlocal moments
            moments += 1
            if moments % EVERY == 0:
                raise Killed(what)

        surroundings.hooks.before = surroundings.hooks.after = here
        submit(control_plane, prepared)
        wait = ("wait", "sfr/toy", f"-n={prepared}", "--for=condition=Complete", "--timeout=240s")
        await kubectl(control_plane, *wait)
        await nothing_is_left(control_plane, prepared)
    gc.collect()
    assert operator.starts > 5
    assert max(surroundings.services.begun.values()) == 1
    assert max(surroundings.services.published.values()) == 1
