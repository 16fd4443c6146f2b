"""Batch calls as operations: repeated, resumed, taken over, cancelled and abandoned."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from google.rpc import code_pb2
from prometheus_client import REGISTRY

from selfie.artifacts.local_files import LocalFiles
from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.operations import operation_name, read_record, write_record
from selfie.artifacts.store import Store, open_store
from selfie.errors import AlreadyExists, FailedPrecondition, NotFound
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.operations import Method, OperationRunner, Work
from selfie.v1 import artifacts_pb2, filtering_pb2

SCHEMA = pa.schema([("number", pa.int64())])
METHOD = "selfie.v1.FilteringService/FilterDataset"
STEP = "rounds/01/filter"


class ToyWork:
    """Writes three shards, and counts how often each was made; may wait or fail before a shard."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.before_shard: Callable[[int], None] = lambda index: None

    def __call__(self, context: OperationContext, request: filtering_pb2.FilterDatasetRequest) -> Manifest:
        files = context.finished_shards("rows")
        for index in range(3):
            context.progress(len(files), 3)
            if index not in files:
                self.before_shard(index)
                self.made.append(index)
                table = pa.table({"number": [index]}, schema=SCHEMA)
                files[index] = context.write_shard(table, schema=SCHEMA, group="rows", index=index)
        context.progress(3, 3)
        return context.manifest(files=tuple(files[index] for index in range(3)), counts={"rows": 3})


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def attempt(tmp_path: Path) -> artifacts_pb2.Attempt:
    return artifacts_pb2.Attempt(run_uri=f"file://{tmp_path}/run", step=STEP, number=1, run_uid="uid-1")


@pytest.fixture
def store(attempt: artifacts_pb2.Attempt):
    return open_store(attempt.run_uri)


class Gate:
    """Holds the work before its second shard until it is opened."""

    def __init__(self, work: ToyWork) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()
        work.before_shard = self._pass

    def _pass(self, index: int) -> None:
        if index == 1:
            self.reached.set()
            self._opened.wait(10)

    def open(self) -> None:
        self._opened.set()


class Waiting:
    """Work that waits for what never comes, until it is told to stop."""

    def __init__(self) -> None:
        self.reached = threading.Event()

    def __call__(self, context: OperationContext, request: filtering_pb2.FilterDatasetRequest) -> Manifest:
        self.reached.set()
        context.wait_for(asyncio.Event().wait())
        raise AssertionError("it came")


def runner_of(work: Work, *, owner: str = "first", open_store=open_store, **settings) -> OperationRunner:
    methods = {METHOD: Method(filtering_pb2.FilterDatasetRequest, work)}
    return OperationRunner(open_store=open_store, owner=owner, methods=methods, **settings)


async def start(runner: OperationRunner, attempt: artifacts_pb2.Attempt, *, percent: float = 10):
    request = filtering_pb2.FilterDatasetRequest(attempt=attempt)
    request.rules.noisy_percent = percent
    return await runner.start(method=METHOD, request_id=str(uuid.uuid4()), attempt=attempt, request=request)


def name_of(attempt: artifacts_pb2.Attempt) -> str:
    return operation_name(attempt.run_uri, attempt.step, attempt.number)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_work_ends_with_one_manifest_and_its_numbers(attempt, store):
    work = ToyWork()
    runner = runner_of(work)
    operation = await start(runner, attempt)
    ended = await runner.wait(operation.name, 10)
    result = artifacts_pb2.StepResult()
    assert ended.done
    assert ended.response.Unpack(result)
    assert result.counts["rows"] == 3
    manifest = read_manifest(store, STEP)
    assert [entry.name for entry in manifest.files] == [f"rows-{index:05d}.parquet" for index in range(3)]


async def test_starting_twice_is_one_piece_of_work(attempt):
    work = ToyWork()
    runner = runner_of(work)
    first, second = await asyncio.gather(start(runner, attempt), start(runner, attempt))
    assert first.name == second.name
    await runner.wait(first.name, 10)
    assert work.made == [0, 1, 2]
    again = await start(runner, attempt)
    assert again.done
    assert work.made == [0, 1, 2]


async def test_the_same_attempt_with_other_parameters_is_refused(attempt):
    release = threading.Event()
    work = ToyWork()
    work.before_shard = lambda index: release.wait(10)
    runner = runner_of(work)
    operation = await start(runner, attempt)
    with pytest.raises(AlreadyExists, match="start a new attempt"):
        await start(runner, attempt, percent=20)
    release.set()
    await runner.wait(operation.name, 10)


async def test_two_replicas_publish_one_manifest_and_both_answer(attempt):
    release = threading.Event()
    work = ToyWork()
    work.before_shard = lambda index: release.wait(10)
    first, second = runner_of(work), runner_of(work, owner="second")
    operation = await start(first, attempt)
    seen = await second.get(operation.name)
    assert not seen.done
    release.set()
    assert (await first.wait(operation.name, 10)).done
    assert (await second.get(operation.name)).response == (await first.get(operation.name)).response
    assert work.made == [0, 1, 2]


async def test_a_dead_owners_work_is_taken_over_without_redoing_its_shards(attempt, store):
    work, clock = ToyWork(), Clock()
    gate = Gate(work)
    dead = runner_of(work, now=clock)
    operation = await start(dead, attempt)
    await until(gate.reached.is_set)

    successor_work = ToyWork()
    successor = runner_of(successor_work, owner="successor", now=clock)
    assert not (await successor.get(operation.name)).done
    assert successor_work.made == []
    clock.pass_seconds(31)
    assert (await successor.wait(operation.name, 10)).done
    assert successor_work.made == [1, 2]
    assert read_manifest(store, STEP).writer == "successor"
    # The one taken for dead wakes up: its manifest is the second, and is not published.
    gate.open()
    await dead.close()
    assert read_manifest(store, STEP).writer == "successor"


async def test_how_it_ends_for_one_taken_for_dead_is_nothing_to_its_successor(attempt, store):
    clock = Clock()
    stalled_work, successor_work = ToyWork(), ToyWork()
    stalled_gate, successor_gate = Gate(stalled_work), Gate(successor_work)
    stalled = runner_of(stalled_work, now=clock)
    operation = await start(stalled, attempt)
    await until(stalled_gate.reached.is_set)
    clock.pass_seconds(31)
    successor = runner_of(successor_work, owner="successor", now=clock, lease_s=0.3)
    assert not (await successor.get(operation.name)).done
    await until(successor_gate.reached.is_set)

    closing = asyncio.create_task(stalled.close())
    await asyncio.sleep(0)
    stalled_gate.open()
    await closing
    record = read_record(store, STEP, 1)
    assert (record.owner, record.state) == ("successor", "running")
    successor_gate.open()
    assert (await successor.wait(operation.name, 10)).HasField("response")
    assert successor_work.made[-1] == 2


class LateBeats(LocalFiles):
    """Files on which a heartbeat takes its time, as in a bucket; an end does not."""

    def replace(self, path: str, data: bytes) -> None:
        if path.endswith("operation.json") and json.loads(data)["state"] == "running":
            time.sleep(0.3)
        super().replace(path, data)


async def test_a_heartbeat_that_is_under_way_is_not_written_over_the_end(attempt, store):
    work, clock = Waiting(), Clock()
    late = Store(attempt.run_uri, LateBeats(Path(attempt.run_uri.removeprefix("file://"))))
    runner = runner_of(work, open_store=lambda _: late, now=clock, lease_s=0.3, abandoned_after_s=300)
    await start(runner, attempt)
    await until(work.reached.is_set)
    # Its next heartbeat stops it, and then takes longer to be written than the work to end.
    clock.pass_seconds(301)
    await until(lambda: read_record(store, STEP, 1).heartbeat_at == clock.now)
    await runner.close()
    await asyncio.sleep(0.5)
    assert read_record(store, STEP, 1).state == "cancelled"


async def test_a_restarted_process_goes_on_under_its_own_name(attempt, store):
    work, clock = ToyWork(), Clock()
    runner = runner_of(work, now=clock)
    await start(runner, attempt)
    await runner.close()
    record = read_record(store, STEP, 1)
    if record.state != "succeeded":
        write_record(store, STEP, 1, record.taken_over("first", clock.now))
    restarted = runner_of(ToyWork(), now=clock)
    assert (await restarted.wait(name_of(attempt), 10)).done


async def test_a_cancelled_operation_says_so_and_goes_on_when_started_again(attempt):
    work = ToyWork()
    gate = Gate(work)
    runner = runner_of(work)
    operation = await start(runner, attempt)
    await until(gate.reached.is_set)
    await runner.cancel(operation.name)
    gate.open()
    cancelled = await runner.wait(operation.name, 10)
    assert cancelled.error.code == code_pb2.CANCELLED
    assert work.made == [0, 1]
    await start(runner, attempt)
    assert (await runner.wait(operation.name, 10)).HasField("response")
    assert work.made == [0, 1, 2]


async def test_work_that_waits_for_what_never_comes_stops_when_its_service_does(attempt, store):
    work = Waiting()
    runner = runner_of(work)
    await start(runner, attempt)
    await until(work.reached.is_set)
    async with asyncio.timeout(5):
        await runner.close()
    record = read_record(store, STEP, 1)
    assert (record.state, record.error.message) == ("cancelled", "the service is shutting down")
    successor = runner_of(ToyWork(), owner="successor")
    await start(successor, attempt)
    assert (await successor.wait(name_of(attempt), 10)).HasField("response")


async def test_another_replica_can_cancel(attempt):
    work = Waiting()
    runner = runner_of(work, lease_s=0.3)
    operation = await start(runner, attempt)
    await until(work.reached.is_set)
    await runner_of(ToyWork(), owner="second").cancel(operation.name)
    assert (await runner.wait(operation.name, 10)).error.code == code_pb2.CANCELLED


async def test_work_that_nobody_asks_about_stops_by_itself(attempt, store):
    work, clock = Waiting(), Clock()
    runner = runner_of(work, now=clock, lease_s=0.3, abandoned_after_s=300)
    await start(runner, attempt)
    await until(work.reached.is_set)
    clock.pass_seconds(301)
    await until(lambda: read_record(store, STEP, 1).state == "cancelled")
    assert "nobody has asked" in read_record(store, STEP, 1).error.message


async def test_a_failure_carries_its_reason_and_whether_to_try_again(attempt):
    def fail(index: int) -> None:
        raise FailedPrecondition("ParityBroken", "the numbers differ")

    work = ToyWork()
    work.before_shard = fail
    runner = runner_of(work)
    operation = await runner.wait((await start(runner, attempt)).name, 10)
    assert operation.error.code == code_pb2.FAILED_PRECONDITION
    assert operation.error.message == "the numbers differ"
    again = await start(runner, attempt)
    assert again.error.code == code_pb2.FAILED_PRECONDITION


async def test_an_operation_that_was_never_started_is_not_found(attempt):
    with pytest.raises(NotFound, match="start it first"):
        await runner_of(ToyWork()).get(name_of(attempt))


async def test_prometheus_is_told_how_work_ends(attempt):
    def ended(state: str, reason: str = "") -> float:
        labels = {"method": METHOD, "state": state, "reason": reason}
        return REGISTRY.get_sample_value("selfie_operations_ended_total", labels) or 0.0

    before = ended("succeeded")
    runner = runner_of(ToyWork())
    operation = await start(runner, attempt)
    await runner.wait(operation.name, 10)
    await until(lambda: ended("succeeded") == before + 1)
    assert REGISTRY.get_sample_value("selfie_operations_running", {"method": METHOD}) == 0
