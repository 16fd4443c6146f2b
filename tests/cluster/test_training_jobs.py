"""The training controller's Jobs on a real control plane: whatever happens to their pods."""

import asyncio
import json

import pytest

from cluster.fake_pods import FakePod
from cluster.pod_statuses import Exit as PodExit
from cluster.pod_statuses import Waiting
from clusters import apply
from selfie.artifacts.exits import Exit
from selfie.artifacts.starts import begin
from selfie.kube.objects import JOB, POD, SERVICE, uid_of
from selfie.training.cluster.sweeping import Sweeper
from trained_runs import TrainedRun, eventually
from training_runs import (
    publish_prepared,
)

pytestmark = pytest.mark.timeout(300)


async def test_a_job_ends_with_its_steps_result_and_goes_with_its_pod(trained: TrainedRun) -> None:
    trained.node.run = trained.publishes
    await trained.begin()
    await trained.create()
    job = await trained.until(lambda job: job.ended)
    assert (job.state, job.starts) == ("succeeded", 1)
    sweeper = Sweeper(trained.api, trained.jobs, namespace=trained.namespace, keep_s=0)

    async def swept() -> bool:
        return await sweeper.sweep() == 1

    await eventually(swept)
    await eventually(lambda: trained.is_rid_of(POD))
    assert (await trained.create()).state == "succeeded"
    assert (await trained.api.list(JOB, namespace=trained.namespace)).items == []


@pytest.mark.parametrize("status", [Exit.INVALID_INPUT, Exit.FAILED])
async def test_what_stays_wrong_fails_in_one_try(trained: TrainedRun, status: Exit) -> None:
    trained.node.run = trained.fails(status)
    await trained.begin()
    await trained.create()
    job = await trained.until(lambda job: job.ended)
    assert (job.state, job.reason, job.retryable, job.starts) == ("failed", "ParityBroken", False, 1)
    found = await trained.only_job()
    (failed,) = [entry for entry in found["status"]["conditions"] if entry["type"] == "Failed"]
    assert failed["reason"] == "PodFailurePolicy"


async def test_a_crash_is_started_again_within_the_attempt_and_counted(trained: TrainedRun) -> None:
    async def crashes_once(pod: FakePod) -> PodExit:
        start = begin(trained.store, trained.path, uid=pod.object["metadata"]["uid"])
        return PodExit(Exit.CRASHED) if start.number == 1 else await trained.publishes(pod)

    trained.node.run = crashes_once
    await trained.begin()
    await trained.create()
    uid = uid_of(await trained.only_job())
    job = await trained.until(lambda job: job.ended)
    found = await trained.only_job()
    assert (job.state, job.starts) == ("succeeded", 2)
    assert (uid_of(found), found["status"]["failed"]) == (uid, 1)


@pytest.mark.parametrize("status", [Exit.TERMINATED, Exit.SUPERSEDED, Exit.PEERS_LOST])
async def test_what_is_not_its_fault_is_not_held_against_the_job(trained: TrainedRun, status: Exit) -> None:
    async def ends_once(pod: FakePod) -> PodExit:
        start = begin(trained.store, trained.path, uid=pod.object["metadata"]["uid"])
        return PodExit(status) if start.number == 1 else await trained.publishes(pod)

    trained.node.run = ends_once
    await trained.begin()
    await trained.create()
    job = await trained.until(lambda job: job.ended)
    assert (job.state, job.starts) == ("succeeded", 2)
    assert not (await trained.only_job())["status"].get("failed")


async def test_an_evicted_pod_is_followed_by_another_of_the_same_job_and_not_counted(
    trained: TrainedRun,
) -> None:
    trained.node.run = trained.trains
    await trained.begin()
    await trained.create()
    uid = uid_of(await trained.only_job())
    trained.node.evict(trained.namespace, await trained.one_pod())
    job = await trained.until(lambda job: job.starts == 2)
    assert job.state == "running"
    found = await trained.only_job()
    assert uid_of(found) == uid
    assert not found["status"].get("failed")


async def test_a_pod_that_was_deleted_has_its_grace_and_is_never_beside_its_successor(
    trained: TrainedRun,
) -> None:
    alive: set[str] = set()
    most = 0

    async def saves_first(pod: FakePod) -> PodExit:
        nonlocal most
        alive.add(pod.name)
        most = max(most, len(alive))
        begin(trained.store, trained.path, uid=pod.object["metadata"]["uid"])
        await pod.stopping.wait()
        await asyncio.sleep(1)
        alive.discard(pod.name)
        return PodExit(Exit.TERMINATED)

    trained.node.run = saves_first
    await trained.begin()
    await trained.create()
    for started in (2, 3):
        pod = await trained.one_pod()
        trained.cluster.kubectl("delete", "pod", pod, f"-n={trained.namespace}", "--wait=false")
        await trained.until(lambda job, started=started: job.starts == started)
    assert most == 1
    assert not (await trained.only_job())["status"].get("failed")


async def test_memory_that_ran_out_is_told_by_the_pod(trained: TrainedRun) -> None:
    trained.node.run = trained.trains
    await trained.begin()
    await trained.create()
    pod = await trained.one_pod()
    await trained.until(lambda job: job.starts == 1)
    trained.node.kill(trained.namespace, pod, PodExit(137, "OOMKilled"))
    # A stop, so that the test need not wait for six crashes.
    trained.node.run = trained.fails(Exit.FAILED, reason="Later")
    job = await trained.until(lambda job: job.ended)
    assert (job.reason, job.starts) == ("Later", 2)
    assert (await trained.only_job())["status"]["failed"] == 2


async def test_nodes_of_one_training_know_their_numbers_and_where_the_first_is(trained: TrainedRun) -> None:
    seen: dict[str, tuple[str, str]] = {}

    async def tells(pod: FakePod) -> PodExit:
        spec = pod.object["spec"]
        index = pod.object["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        seen[index] = (spec["hostname"], spec["subdomain"])
        await pod.stopping.wait()
        return PodExit(Exit.TERMINATED)

    trained.node.run = tells
    await trained.begin(nodes=2)
    publish_prepared(trained.store, trained.asked.attempt)
    await trained.at("rounds/00/seed", 1)
    await trained.create()

    async def both() -> bool:
        return len(seen) == 2

    await eventually(both)
    job = await trained.only_job()
    service = next(
        entry
        for entry in (await trained.api.list(SERVICE, namespace=trained.namespace)).items
        if entry["metadata"]["name"].startswith("selfie-training-")
    )
    name = job["metadata"]["name"]
    args = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {host for host, _ in seen.values()} == {f"{name}-0", f"{name}-1"}
    assert {subdomain for _, subdomain in seen.values()} == {service["metadata"]["name"]}
    assert f"{name}-0.{service['metadata']['name']}:29500" in args


async def test_what_keeps_a_pod_from_running_is_told(trained: TrainedRun) -> None:
    trained.node.waits = lambda pod: Waiting("Unschedulable", "0/1 nodes have a GPU")
    trained.node.run = trained.trains
    await trained.begin()
    await trained.create()
    job = await trained.until(lambda job: job.state == "pending")
    assert job.reason == "WaitingForCapacity"
    assert "0/1 nodes have a GPU" in job.message
    trained.node.waits = lambda pod: Waiting("ImagePullBackOff", "no such image")
    job = await trained.until(lambda job: job.reason == "ImageCannotBePulled")
    assert "no such image" in job.message
    trained.node.waits = lambda pod: None
    await trained.until(lambda job: job.state == "running" and job.starts == 1)


async def test_a_quota_is_waited_for(trained: TrainedRun) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": trained.namespace},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    apply(trained.cluster, quota)

    async def in_force() -> bool:
        found = trained.cluster.kubectl("get", "resourcequota/none", f"-n={trained.namespace}", "-o=json")
        return bool(json.loads(found).get("status", {}).get("hard"))

    await eventually(in_force)
    await trained.begin()
    job = await trained.create()
    assert (job.state, job.reason) == ("pending", "PodRefused")
    assert "exceeded quota" in job.message
