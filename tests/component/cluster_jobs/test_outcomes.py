"""Jobs of a cluster: how they go on and end, as the attempt and its pods tell."""

import json
from dataclasses import replace

import pytest

from job_cluster import JOB, POD
from job_worlds import World
from selfie.artifacts.starts import begin
from selfie.dispatch import work
from selfie.errors import (
    NotFound,
    Unavailable,
)
from selfie.rpc.channels import connect
from selfie.rpc.server import RunningServer
from selfie.runs.steps import Step
from selfie.training.records import job_name
from selfie.training.servicer import service_of
from selfie.training.settings import TrainingSettings


async def test_progress_and_result_are_those_of_the_attempt(world: World) -> None:
    await world.create()
    world.cluster.pod(running={})
    begin(world.store, world.path, uid="pod-1")
    progress = {"done": 3, "total": 9, "activity": "tokenising"}
    world.store.write(f"{world.path}/progress.json", json.dumps(progress).encode())
    job = await world.get()
    assert (job.state, job.starts) == ("running", 1)
    assert job.progress is not None
    assert job.progress.total == 9
    world.publish()
    job = await world.get()
    assert job.state == "succeeded"
    assert job.published is not None


async def test_a_pod_that_follows_an_evicted_one_is_a_restart_of_the_same_job(world: World) -> None:
    await world.create()
    uid = world.cluster.only(JOB)["metadata"]["uid"]
    for number, name in enumerate(("pod-1", "pod-2", "pod-3"), start=1):
        begin(world.store, world.path, uid=name)
        world.cluster.remove(POD)
        world.cluster.pod(name=name, running={})
        job = await world.get()
        assert (job.state, job.starts) == ("running", number)
    assert world.cluster.only(JOB)["metadata"]["uid"] == uid


async def test_a_failed_job_quotes_the_end_of_its_log(world: World) -> None:
    await world.create()
    world.fail()
    world.store.write(f"{world.path}/log.txt", b"\n".join(b"line %d" % n for n in range(100)))
    assert (await world.get()).state == "running"
    world.cluster.end("Failed", "PodFailurePolicy")
    job = await world.get()
    lines = job.message.splitlines()
    assert (job.state, job.reason, job.retryable) == ("failed", "ParityBroken", False)
    assert lines[0] == "ParityBroken: too far apart"
    assert (len(lines), lines[-1]) == (22, "line 99")
    assert world.cluster.count("log", POD) == 0


async def test_a_pod_that_left_no_word_is_spoken_for_and_its_log_is_kept(world: World) -> None:
    await world.create()
    state = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-03-01T12:00:00Z"}
    world.cluster.pod("Failed", terminated=state)
    world.cluster.logs["pod-1"] = "step 1\nstep 2\n"
    world.store.write(f"{world.path}/log.txt", b"step 1\n")
    world.cluster.end("Failed")
    first = await world.get()
    assert (first.state, first.reason, first.retryable) == ("failed", "OOMKilled", True)
    assert first.message.endswith("step 1\nstep 2")
    world.cluster.remove(JOB)
    world.cluster.remove(POD)
    assert replace(await world.get(), record=first.record) == first
    assert world.cluster.count("log", POD) == 1


async def test_a_log_that_cannot_be_had_any_more_keeps_nobody_from_saying_why(world: World) -> None:
    await world.create()
    state = {"exitCode": 1, "reason": "Error", "finishedAt": "2026-03-01T12:00:00Z"}
    world.cluster.pod("Failed", terminated=state)
    world.cluster.end("Failed")

    def refuse(verb: str, kind: object) -> None:
        if verb == "log":
            raise Unavailable("the node is gone")

    world.cluster.before = refuse
    job = await world.get()
    assert (job.reason, job.retryable) == ("PodFailed", True)


async def test_a_job_that_somebody_deleted_fails_its_attempt_once_its_pods_are_gone(world: World) -> None:
    await world.create()
    world.cluster.pod(running={})
    world.cluster.remove(JOB)
    assert (await world.get()).state == "running"
    world.cluster.remove(POD)
    for look in (world.get, world.create, world.get):
        job = await look()
        assert (job.state, job.reason, job.retryable) == ("failed", "JobDeleted", True)
    assert world.cluster.all(JOB) == []


async def test_a_cancelled_job_is_cancelled_when_its_last_pod_is_gone(world: World) -> None:
    await world.create()
    world.cluster.pod(running={})
    assert (await world.jobs.cancel(world.name)).state == "running"
    assert world.cluster.all(JOB) == []
    assert (await world.create()).state == "running"
    world.cluster.remove(POD)
    assert (await world.get()).state == "cancelled"
    assert (await world.jobs.cancel(world.name)).state == "cancelled"


async def test_a_cancelled_job_goes_on_in_the_same_attempt_when_it_is_created_again(world: World) -> None:
    await world.create()
    first = world.cluster.only(JOB)
    begin(world.store, world.path, uid="pod-1")
    await world.jobs.cancel(world.name)
    world.fail("Cancelled")
    assert (await world.create()).state == "running"
    second = world.cluster.only(JOB)
    assert second["metadata"]["name"] == first["metadata"]["name"]
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert not world.store.exists(f"{world.path}/error.json")


async def test_jobs_of_a_run_are_listed_and_unknown_ones_are_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.get()
    await world.create()
    found, following = await world.jobs.page(world.asked.attempt.run_uri)
    assert [job_name(job.record.attempt) for job in found] == [world.name]
    assert following == ""


async def test_the_operator_sees_why_a_job_waits(world: World) -> None:
    settings = TrainingSettings(artifact_roots=(world.root,), drain_seconds=0)

    async def nothing() -> None:
        return

    server = RunningServer(settings, service_of(world.jobs, settings, nothing))
    await server.start()
    channel = connect(f"127.0.0.1:{server.port}")
    try:
        await world.create()
        world.cluster.only(JOB)["spec"]["suspend"] = True
        step = Step(0, "prepare")
        seen = await work.observe(channel, world.asked.attempt.run_uri, step, 1)
        assert (seen.state, seen.reason) == ("pending", "Queued")
        assert seen.message == "the queue has not admitted the Job"
        world.cluster.only(JOB)["spec"]["suspend"] = False
        for uid in ("pod-1", "pod-2"):
            begin(world.store, world.path, uid=uid)
        seen = await work.observe(channel, world.asked.attempt.run_uri, step, 1)
        assert (seen.state, seen.restarts) == ("running", 1)
        world.fail()
        world.cluster.end("Failed")
        seen = await work.observe(channel, world.asked.attempt.run_uri, step, 1)
        assert (seen.state, seen.reason, seen.retryable) == ("failed", "ParityBroken", False)
    finally:
        await channel.close()
        await server.stop()
