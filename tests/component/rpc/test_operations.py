"""Batch calls as operations: repeated, resumed, cancelled, failed."""

import asyncio
import threading

import pytest
from google.rpc import code_pb2
from prometheus_client import REGISTRY

from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.operations import read_record, write_record
from selfie.errors import AlreadyExists, FailedPrecondition, NotFound
from selfie.v1 import artifacts_pb2
from toy_operations import METHOD, STEP, Clock, Gate, ToyWork, Waiting, name_of, runner_of, start, until


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
