"""Jobs of a cluster from the request to the end, with an API server in memory and a real store."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from job_cluster import CONFIG_MAP, JOB, POD, SELFIE_RUN, SERVICE, JobCluster
from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.manifests import publish
from selfie.artifacts.starts import begin
from selfie.artifacts.store import Store, open_store
from selfie.dispatch import work
from selfie.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    OutOfDate,
    PermissionDenied,
    Unavailable,
)
from selfie.kube.api import Api
from selfie.kube.objects import Kind, Object
from selfie.rpc.channels import connect
from selfie.rpc.server import RunningServer
from selfie.rpc.stores import store_opener
from selfie.runs.steps import Step
from selfie.training.cluster.authority import Asked
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.granting import Grants
from selfie.training.cluster.sweeping import Sweeper
from selfie.training.job import Job
from selfie.training.records import JobRecord, job_name, read_record, write_record
from selfie.training.servicer import service_of
from selfie.training.settings import TrainingSettings
from training_runs import (
    NAMESPACE,
    NOW,
    asked_from,
    frozen_map,
    publish_prepared,
    run_uri,
    selfie_run,
    trainer_settings,
)


class World:
    """A run on a cluster whose operator has asked for its first step."""

    def __init__(self, root: Path, **spec: Any) -> None:
        self.root = f"file://{root}/artifacts"
        self.cluster = JobCluster()
        self.owner = self.cluster.put(SELFIE_RUN, selfie_run(spec=spec))
        self.cluster.put(CONFIG_MAP, frozen_map(self.owner, root=self.root))
        self.store = open_store(run_uri(self.owner, self.root))
        self.now = NOW
        self.jobs = self.controller()

    def controller(
        self, *, api: Api | None = None, opener: Callable[[str], Store] | None = None
    ) -> ClusterJobs:
        """A controller of its own, as another replica or a restarted one has it."""
        api = api or self.cluster
        grants = Grants(
            api, namespace=NAMESPACE, pods=trainer_settings(image="registry.local/selfie-gpu:2.0")
        )
        opener = opener or store_opener((self.root,))
        return ClusterJobs(api=api, grants=grants, open_store=opener, now=lambda: self.now)

    @property
    def asked(self) -> Asked:
        return asked_from(self.store, self.owner, root=self.root)

    @property
    def name(self) -> str:
        return job_name(self.asked.attempt)

    @property
    def path(self) -> str:
        return self.asked.attempt.path

    async def create(self, jobs: ClusterJobs | None = None, asked: Asked | None = None) -> Job:
        asked = asked or self.asked
        return await (jobs or self.jobs).create(
            asked.attempt, request_id=asked.request_id, program=asked.program, parameters=asked.parameters
        )

    async def get(self) -> Job:
        return await self.jobs.get(self.name)

    def publish(self) -> None:
        publish(self.store, self.asked.attempt.manifest(writer="w", started_at=NOW))

    def fail(self, reason: str = "ParityBroken", *, retryable: bool = False) -> None:
        error = {"reason": reason, "message": "too far apart", "retryable": retryable}
        self.store.write(f"{self.path}/error.json", json.dumps({"error": error}).encode())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def container(job: Object) -> Object:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


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


async def test_jobs_of_a_run_are_listed_and_unknown_ones_are_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.get()
    await world.create()
    found, following = await world.jobs.page(world.asked.attempt.run_uri)
    assert [job_name(job.record.attempt) for job in found] == [world.name]
    assert following == ""


class Crash(Exception):
    """The process is gone."""


class CrashingStore(Store):
    """A store that is told of each write, before and after it."""

    def __init__(self, inner: Store, tick: Callable[[], None]) -> None:
        super().__init__(inner.uri, inner._files)
        self._tick = tick

    def write(self, path: str, data: bytes) -> None:
        self._tick()
        super().write(path, data)
        self._tick()

    def create(self, path: str, data: bytes) -> None:
        self._tick()
        super().create(path, data)
        self._tick()

    def delete(self, prefix: str) -> None:
        self._tick()
        super().delete(prefix)
        self._tick()


class CrashingApi:
    """An API server whose writes are counted the same way."""

    def __init__(self, inner: JobCluster, tick: Callable[[], None]) -> None:
        self._inner = inner
        self._tick = tick

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, *args: Any, **kwargs: Any) -> Object:
        self._tick()
        found = await self._inner.create(*args, **kwargs)
        self._tick()
        return found

    async def delete(self, *args: Any, **kwargs: Any) -> bool:
        self._tick()
        found = await self._inner.delete(*args, **kwargs)
        self._tick()
        return found


def crashing(world: World, after: int) -> ClusterJobs:
    """A controller that dies at its ``after``-th chance, and does nothing any more."""
    left = after

    def tick() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Crash

    opener = store_opener((world.root,))
    api: Any = CrashingApi(world.cluster, tick)
    return world.controller(api=api, opener=lambda uri: CrashingStore(opener(uri), tick))


@pytest.mark.parametrize("after", range(1, 20))
async def test_wherever_the_controller_dies_the_same_request_ends_in_one_job(
    world: World, after: int
) -> None:
    try:
        await world.create(crashing(world, after))
    except Crash:
        pass
    else:
        assert after > 10
    job = await world.create()
    assert job.state == "running"
    made = world.cluster.only(JOB)
    digest = digest_bytes(world.store.read(f"{world.path}/parameters.json")).sha256
    assert digest in container(made)["args"]
    assert world.cluster.count("create", JOB) <= 2
    # And a stop, wherever it dies, leaves nothing either.
    for point in range(1, 6):
        try:
            await crashing(world, point).cancel(world.name)
        except Crash:
            continue
    assert (await world.jobs.cancel(world.name)).state == "cancelled"
    assert world.cluster.all(JOB) == []


def sweeper(world: World) -> Sweeper:
    return Sweeper(world.cluster, world.jobs, namespace=NAMESPACE, keep_s=15, now=lambda: world.now)


@pytest.mark.parametrize("end", ["Complete", "Failed"])
async def test_a_job_goes_once_it_has_ended_and_the_store_says_how(world: World, end: str) -> None:
    await world.create()
    if end == "Complete":
        world.publish()
    assert await sweeper(world).sweep() == 0
    world.cluster.end(end)
    assert await sweeper(world).sweep() == 0
    world.now += timedelta(seconds=16)
    assert await sweeper(world).sweep() == 1
    assert world.cluster.all(JOB) == []
    job = await world.create()
    assert job.state == ("succeeded" if end == "Complete" else "failed")
    assert world.cluster.all(JOB) == []


async def test_a_job_that_ended_well_and_published_nothing_stays(world: World) -> None:
    await world.create()
    world.cluster.end("Complete")
    world.now += timedelta(hours=1)
    assert await sweeper(world).sweep() == 0
    assert (await world.get()).state == "succeeded"


async def test_one_job_that_cannot_be_settled_keeps_no_other(world: World) -> None:
    await world.create()
    world.publish()
    world.cluster.end("Complete")
    broken = json.loads(json.dumps(world.cluster.only(JOB)))
    broken["metadata"] |= {"name": "aaa", "uid": "other", "annotations": {"selfie.dev/job": "jobs/no"}}
    world.cluster.put(JOB, broken)
    world.now += timedelta(seconds=16)
    assert await sweeper(world).sweep() == 1
    assert world.cluster.only(JOB)["metadata"]["name"] == "aaa"


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
