"""Operations and those who work on them: taken for dead, taken over, cancelled by another, abandoned."""

import asyncio
import json
import time
from pathlib import Path

from google.rpc import code_pb2

from selfie.artifacts.local_files import LocalFiles
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.operations import read_record
from selfie.artifacts.store import Store
from toy_operations import STEP, Clock, Gate, ToyWork, Waiting, runner_of, start, until


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
