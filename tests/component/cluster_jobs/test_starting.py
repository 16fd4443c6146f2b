"""Jobs of a cluster: what a start makes, and who may have one."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from job_cluster import CONFIG_MAP, JOB, SERVICE
from job_worlds import World, container
from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.store import open_store
from selfie.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    OutOfDate,
    PermissionDenied,
)
from selfie.kube.objects import Kind
from selfie.training.records import JobRecord, job_name, read_record, write_record
from training_runs import (
    NAMESPACE,
    NOW,
    frozen_map,
    publish_prepared,
)


async def test_a_job_is_made_and_its_pod_finds_what_it_is_told(world: World) -> None:
    job = await world.create()
    made = world.cluster.only(JOB)
    assert (job.state, job.starts) == ("running", 0)
    data = world.store.read(f"{world.path}/parameters.json")
    assert digest_bytes(data).sha256 in container(made)["args"]
    told = json.loads(data)
    assert told["model"] == {"uri": "builtin://toy", "revision": None}
    assert told["seed"]["dataset"] == "file:///usr/share/selfie/examples/data/seed.jsonl"
    assert told["attempt"]["step"] == "prepare"
    # Nothing of what the release has come to since the run began.
    assert container(made)["image"] == "registry.local/selfie-gpu:1.2"
    assert made["metadata"]["namespace"] == NAMESPACE


async def test_a_start_costs_as_few_requests_as_there_can_be(world: World) -> None:
    await world.create()
    assert world.cluster.asked == [("get", "SelfieRun"), ("get", "ConfigMap"), ("create", "Job")]
    world.cluster.asked.clear()
    world.cluster.only(JOB)["status"] = {"ready": 1}
    assert (await world.get()).state == "running"
    assert world.cluster.asked == [("get", "Job")]
    world.cluster.asked.clear()
    world.publish()
    assert (await world.get()).state == "succeeded"
    assert world.cluster.asked == []


async def test_jobs_that_are_made_and_found_are_counted_apart(world: World) -> None:
    created, adopted = told("created"), told("adopted")
    record = (await world.create()).record
    assert (told("created"), told("adopted")) == (created + 1, adopted)
    made = world.cluster.only(JOB)
    world.cluster.remove(JOB)
    write_record(world.store, record.changed(state="pending"))

    def another_is_faster(verb: str, kind: Kind) -> None:
        if (verb, kind) == ("create", JOB):
            world.cluster.put(JOB, made)

    world.cluster.before = another_is_faster
    await world.create()
    assert (told("created"), told("adopted")) == (created + 1, adopted + 1)


def told(name: str) -> float:
    value = REGISTRY.get_sample_value(f"selfie_training_jobs_{name}_total", {"program": "prepare"})
    return value or 0.0


async def test_asking_again_makes_no_second_job_whoever_is_asked(world: World) -> None:
    controllers = [world.controller() for _ in range(3)]
    await asyncio.gather(*(world.create(jobs) for jobs in controllers * 3))
    assert len(world.cluster.all(JOB)) == 1
    uid = world.cluster.only(JOB)["metadata"]["uid"]
    await world.create()
    assert world.cluster.only(JOB)["metadata"]["uid"] == uid


async def test_what_the_run_does_not_call_for_leaves_nothing_behind(world: World) -> None:
    changed = replace(world.asked, parameters={**world.asked.parameters, "maxPromptTokens": 1})
    with pytest.raises(OutOfDate, match="maxPromptTokens"):
        await world.create(asked=changed)
    foreign = world.asked.attempt.model_copy(
        update={"run_uri": world.asked.attempt.run_uri.replace("/team/", "/other/")}
    )
    with pytest.raises(PermissionDenied):
        await world.create(asked=replace(world.asked, attempt=foreign, parameters={}))
    world.owner["spec"]["suspend"] = True
    with pytest.raises(OutOfDate, match="is suspended"):
        await world.create()
    assert world.cluster.all(JOB) == []
    assert world.store.list("") == []


async def test_jobs_of_another_namespace_are_not_looked_at_either(world: World) -> None:
    place = world.asked.attempt.run_uri.replace("/team/", "/other/")
    record = JobRecord(
        request_id="r",
        program="prepare",
        attempt=world.asked.attempt.model_copy(update={"run_uri": place}),
        parameters={},
        created_at=NOW,
        changed_at=NOW,
    )
    write_record(open_store(place), record)
    for ask in (world.jobs.get, world.jobs.cancel):
        with pytest.raises(PermissionDenied, match="in the namespace other"):
            await ask(job_name(record.attempt))
    assert world.cluster.asked == []


async def test_a_run_whose_start_was_not_fixed_starts_nothing(world: World) -> None:
    world.cluster.remove(CONFIG_MAP)
    with pytest.raises(OutOfDate, match="nothing says what the run toy was started with"):
        await world.create()


async def test_a_name_that_somebody_else_has_taken_is_not_taken_over(world: World) -> None:
    await world.create()
    world.cluster.only(JOB)["metadata"]["ownerReferences"][0]["uid"] = "another run"
    for asking in (world.get, world.create):
        with pytest.raises(FailedPrecondition, match="belongs to somebody else"):
            await asking()


async def test_a_job_of_our_name_that_is_told_something_else_is_not_taken_over(world: World) -> None:
    await world.create()
    made = world.cluster.only(JOB)
    container(made)["args"] = ["--parameters-sha256", "0" * 64]
    world.cluster.remove(JOB)
    world.store.delete(world.path)

    def slip_in(verb: str, kind: object) -> None:
        if (verb, kind) == ("create", JOB):
            world.cluster.put(JOB, made)

    world.cluster.before = slip_in
    with pytest.raises(FailedPrecondition, match="told other parameters"):
        await world.create()


async def test_nodes_that_train_together_have_a_service_to_meet_at(tmp_path: Path) -> None:
    world = World(tmp_path, nodes=2)
    await world.create()
    # A preparation is the work of one; only a training is shared.
    assert world.cluster.all(SERVICE) == []
    publish_prepared(world.store, world.asked.attempt)
    world.owner["status"]["step"] = "rounds/00/seed"
    await world.create()
    await world.create()
    service = world.cluster.only(SERVICE)
    training = next(job for job in world.cluster.all(JOB) if "seed" in job["metadata"]["name"])
    assert training["spec"]["parallelism"] == 2
    assert training["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]


async def test_a_training_reads_what_was_published_before_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    digest = publish_prepared(world.store, world.asked.attempt)
    world.owner["status"]["step"] = "rounds/00/seed"
    await world.create()
    told = json.loads(world.store.read(f"{world.path}/parameters.json"))
    assert told["policy"] == {"step": "prepare", "group": "model", "digest": digest}
    changed = {**world.asked.parameters, "policy": {**told["policy"], "digest": "0" * 64}}
    with pytest.raises(OutOfDate, match=r"parameters_json\.policy"):
        await world.create(asked=replace(world.asked, parameters=changed))


async def test_what_may_change_at_any_time_acts_at_the_next_start(world: World) -> None:
    await world.create()
    world.cluster.put(CONFIG_MAP, frozen_map(world.owner, root=world.root))
    record = read_record(world.store, "prepare", 1)
    assert record is not None
    stale = record.changed(parameters={**record.parameters, "microBatch": 64})
    world.store.write(f"{world.path}/job.json", stale.to_json())
    assert (await world.create()).state == "running"
    await world.jobs.cancel(world.name)
    await world.create()
    record = read_record(world.store, "prepare", 1)
    assert record is not None
    assert "microBatch" not in record.parameters


async def test_an_attempt_that_was_recorded_for_other_work_is_refused(world: World) -> None:
    await world.create()
    record = read_record(world.store, "prepare", 1)
    assert record is not None
    other = record.changed(parameters={**record.parameters, "maxPromptTokens": 1})
    world.store.write(f"{world.path}/job.json", other.to_json())
    with pytest.raises(AlreadyExists, match=r"another parameters_json\.maxPromptTokens"):
        await world.create()


@pytest.mark.parametrize(
    "error",
    [
        PermissionDenied("jobs.batch is forbidden: exceeded quota: gpus"),
        PermissionDenied("cannot create resource jobs"),
        InvalidInput("spec.template", "admission webhook denied it", "mend it"),
    ],
    ids=str,
)
async def test_a_job_that_is_refused_waits_and_is_tried_again_after_a_minute(
    world: World, error: Exception
) -> None:
    def refuse(verb: str, kind: object) -> None:
        if (verb, kind) == ("create", JOB):
            raise error

    world.cluster.before = refuse
    job = await world.create()
    assert (job.state, job.reason) == ("pending", "PodRefused")
    assert str(error) in job.message
    world.now += timedelta(seconds=30)
    assert (await world.create()).reason == "PodRefused"
    assert world.cluster.count("create", JOB) == 1
    world.now += timedelta(seconds=31)
    assert (await world.get()).lost
    world.cluster.before = lambda verb, kind: None
    await world.create()
    assert len(world.cluster.all(JOB)) == 1
