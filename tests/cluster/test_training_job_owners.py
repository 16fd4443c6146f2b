"""The training controller's Jobs on a real control plane: queues, users and other controllers."""

import asyncio

import pytest

from selfie.errors import FailedPrecondition, NotFound
from selfie.kube.objects import JOB, POD, Object, uid_of
from selfie.training.records import job_name
from trained_runs import ADMITTED, TrainedRun, eventually

QUEUE = "kueue.x-k8s.io/queue-name"
pytestmark = pytest.mark.timeout(300)


class Queue:
    """A queue controller as Kueue is one: it flips ``suspend``, and injects node selectors on admission."""

    def __init__(self, trained: TrainedRun) -> None:
        self._run = trained

    async def admit(self) -> None:
        await self._change({"suspend": False, "template": {"spec": {"nodeSelector": ADMITTED}}})

    async def evict(self) -> None:
        await self._change({"suspend": True})

    async def _change(self, spec: Object) -> None:
        name = (await self._run.only_job())["metadata"]["name"]
        await self._run.api.patch(JOB, name, {"spec": spec}, namespace=self._run.namespace)


async def test_a_queue_admits_evicts_and_admits_again_and_it_stays_the_same_job(trained: TrainedRun) -> None:
    trained.node.run = trained.trains
    await trained.begin(queue="team-queue")
    job = await trained.create()
    found = await trained.only_job()
    uid = uid_of(found)
    assert (job.state, job.reason) == ("pending", "Queued")
    assert found["metadata"]["labels"][QUEUE] == "team-queue"
    queue = Queue(trained)
    await queue.admit()
    for started in (1, 2, 3):
        await trained.until(lambda job, started=started: job.state == "running" and job.starts == started)
        # Asked again in the middle of it, the Job is what it was.
        assert (await trained.create()).state == "running"
        await queue.evict()
        await trained.until(lambda job: job.reason == "Queued")

        async def no_pod() -> bool:
            return not await trained.live_pods()

        await eventually(no_pod)
        assert (await trained.create()).reason == "Queued"
        await queue.admit()
    pod = await trained.one_pod()
    trained.node.run = trained.publishes
    trained.cluster.kubectl("delete", "pod", pod, f"-n={trained.namespace}", "--wait=false")
    job = await trained.until(lambda job: job.ended)
    found = await trained.only_job()
    assert (job.state, uid_of(found)) == ("succeeded", uid)
    assert not found["status"].get("failed")
    assert job.record.attempt.number == 1


async def test_a_job_that_was_deleted_by_hand_is_followed_by_the_next_attempt(trained: TrainedRun) -> None:
    trained.node.run = trained.trains
    await trained.begin()
    await trained.create()
    await trained.one_pod()
    name = (await trained.only_job())["metadata"]["name"]
    trained.cluster.kubectl("delete", "job", name, f"-n={trained.namespace}", "--wait=false")
    job = await trained.until(lambda job: job.ended)
    assert (job.state, job.reason, job.retryable) == ("failed", "JobDeleted", True)
    assert await trained.live_pods() == []
    await trained.at("prepare", 2)
    trained.node.run = trained.publishes
    await trained.create()
    job = await trained.until(lambda job: job.ended)
    assert (job.state, job.record.attempt.number, job.starts) == ("succeeded", 2, 1)


async def test_a_cancelled_job_leaves_no_pod_and_goes_on_when_it_is_asked_for_again(
    trained: TrainedRun,
) -> None:
    trained.node.run = trained.trains
    await trained.begin()
    await trained.create()
    first = await trained.only_job()
    await trained.one_pod()
    await trained.jobs.cancel(job_name(trained.asked.attempt))
    await trained.until(lambda job: job.state == "cancelled")
    assert await trained.live_pods() == []
    assert await trained.is_rid_of(JOB)
    await trained.create()
    second = await trained.only_job()
    assert second["metadata"]["name"] == first["metadata"]["name"]
    assert uid_of(second) != uid_of(first)
    await trained.until(lambda job: job.starts == 2)


async def test_another_controller_adopts_the_job_and_one_of_somebody_else_is_left_alone(
    trained: TrainedRun,
) -> None:
    trained.node.run = trained.trains
    await trained.begin()
    jobs = [trained.controller() for _ in range(3)]
    await asyncio.gather(*(trained.create(controller) for controller in jobs))
    await trained.only_job()
    await trained.at("prepare", 2)
    taken = await trained.only_job()
    taken["metadata"] = {
        "name": taken["metadata"]["name"].removesuffix("1") + "2",
        "namespace": trained.namespace,
    }
    for generated in ("selector", "manualSelector"):
        taken["spec"].pop(generated, None)
    taken["spec"]["template"]["metadata"].pop("labels")
    await trained.api.create(JOB, taken, namespace=trained.namespace)
    with pytest.raises(FailedPrecondition, match="belongs to somebody else"):
        await trained.create()


async def test_a_run_that_is_deleted_takes_its_job_and_its_pod_along(trained: TrainedRun) -> None:
    trained.node.run = trained.trains
    await trained.begin()
    await trained.create()
    await trained.one_pod()
    trained.cluster.kubectl("delete", "selfierun", "toy", f"-n={trained.namespace}", "--wait=false")
    await eventually(lambda: trained.is_rid_of(JOB))
    await eventually(lambda: trained.is_rid_of(POD))
    with pytest.raises(NotFound, match="there is no SelfieRun"):
        await trained.create()
