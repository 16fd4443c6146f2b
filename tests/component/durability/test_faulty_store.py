"""Batch work and programs on a store that fails at random: nothing wrong is ever published.

Whoever asked asks again, as the planner does: the same attempt while it can go on, the next one when
it has failed. In the end there is one manifest, every file that it names is whole, and its rows are
those of the undisturbed work.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from google.longrunning import operations_pb2

from faulty_files import FaultyFiles
from selfie.artifacts.local_files import LocalFiles
from selfie.artifacts.manifests import Manifest, read_manifest, verify
from selfie.artifacts.operations import read_record
from selfie.artifacts.programs import run_program
from selfie.artifacts.shards import read_group, write_shard
from selfie.artifacts.store import Store
from selfie.errors import SelfieError
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.operations import Method, OperationRunner
from selfie.v1 import artifacts_pb2, filtering_pb2

SCHEMA = pa.schema([("number", pa.int64())])
SHARDS, ROWS = 4, 3
METHOD = "selfie.v1.FilteringService/FilterDataset"
STEP = "rounds/01/filter"
SEEDS = range(25)
RATES = (0.03, 0.12)


class Work:
    """Writes shards of numbers and remembers which it made."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []
        self.before_shard: Callable[[OperationContext, int], None] = lambda context, index: None

    def __call__(self, context: OperationContext, request: filtering_pb2.FilterDatasetRequest) -> Manifest:
        files = context.finished_shards("rows")
        for index in range(SHARDS):
            context.progress(index, SHARDS)
            if index not in files:
                self.before_shard(context, index)
                self.made.append((context.writer, index))
                table = pa.table({"number": range(index * ROWS, (index + 1) * ROWS)}, schema=SCHEMA)
                files[index] = context.write_shard(table, schema=SCHEMA, group="rows", index=index)
        return context.manifest(files=tuple(files[index] for index in range(SHARDS)))


def is_right(store: Store) -> None:
    """One manifest, all of its files whole, and the rows that undisturbed work has."""
    manifest = read_manifest(store, STEP)
    assert manifest is not None
    verify(store, manifest)
    assert read_group(store, manifest, "rows")["number"].to_pylist() == list(range(SHARDS * ROWS))
    assert len({entry.name for entry in manifest.files}) == SHARDS


@pytest.fixture
def sound(tmp_path: Path) -> Store:
    """The same place without faults."""
    return Store((tmp_path / "run").as_uri(), LocalFiles(tmp_path / "run"))


@pytest.fixture(scope="module")
def injected() -> Iterator[list[int]]:
    """Faults of each case: without any, these tests would prove nothing."""
    faults: list[int] = []
    yield faults
    assert sum(faults) >= len(faults)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[int, float], tuple[Store, FaultyFiles]]:
    def make(seed: int, rate: float) -> tuple[Store, FaultyFiles]:
        files = FaultyFiles(tmp_path / "run", seed=seed, rate=rate)
        return Store((tmp_path / "run").as_uri(), files), files

    return make


def request_of(store: Store, number: int) -> tuple[artifacts_pb2.Attempt, filtering_pb2.FilterDatasetRequest]:
    attempt = artifacts_pb2.Attempt(run_uri=store.uri, step=STEP, number=number, run_uid="uid")
    return attempt, filtering_pb2.FilterDatasetRequest(attempt=attempt)


async def asked_until_published(store: Store, work: Work, *, attempts: int = 200) -> None:
    """Asks as the planner does, with a new process now and then."""
    number, runner = 1, runner_on(store, work, owner="p0")
    for turn in range(attempts):
        attempt, request = request_of(store, number)
        request_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"attempt-{number}"))
        try:
            operation = await runner.start(
                method=METHOD, request_id=request_id, attempt=attempt, request=request
            )
            operation = await ended(runner, operation.name)
        except SelfieError as error:
            # A lost record is no reason to try another attempt; an answer that cannot be read may be.
            number += not error.retryable
        else:
            if operation.HasField("response"):
                break
            number += operation.done
        if turn % 5 == 4:
            await runner.close()
            runner = runner_on(store, work, owner=f"p{turn}")
    else:
        raise AssertionError("never published")
    await runner.close()


async def ended(runner: OperationRunner, name: str) -> operations_pb2.Operation:
    """The operation when it has ended, or after two seconds."""
    deadline = time.monotonic() + 2
    while not (operation := await runner.get(name)).done and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    return operation


def runner_on(store: Store, work: Work, *, owner: str, **settings) -> OperationRunner:
    methods = {METHOD: Method(filtering_pb2.FilterDatasetRequest, work)}
    settings = {"lease_s": 0.2} | settings
    return OperationRunner(open_store=lambda _: store, owner=owner, methods=methods, **settings)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", SEEDS)
async def test_batch_work_publishes_what_is_right_or_nothing(
    make_store, sound: Store, injected: list[int], seed: int, rate: float
):
    store, files = make_store(seed, rate)
    work = Work()
    await asked_until_published(store, work)
    is_right(sound)
    injected.append(files.faults)


def number_program(store: Store, raw: dict) -> Manifest:
    """A program that stores its numbers, as `prepare`, `train` and `publish` do."""
    started, attempt = datetime.now(UTC), raw["attempt"]
    files = tuple(
        write_shard(
            store,
            f"{STEP}/a{attempt['number']}/rows-{index}-{uuid.uuid4().hex}.parquet",
            pa.table({"number": range(index * ROWS, (index + 1) * ROWS)}, schema=SCHEMA),
            schema=SCHEMA,
            group="rows",
            name=f"rows-{index}.parquet",
        )
        for index in range(SHARDS)
    )
    return Manifest(
        run_uid="uid",
        round=1,
        step=STEP,
        attempt=attempt["number"],
        writer="w",
        files=files,
        started_at=started,
        finished_at=datetime.now(UTC),
    )


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_program_publishes_what_is_right_or_nothing(
    make_store, sound: Store, tmp_path: Path, seed: int, rate: float
):
    store, _ = make_store(seed, rate)
    for number in range(1, 200):
        attempt = {"runUri": store.uri, "step": STEP, "number": number, "runUid": "uid"}
        parameters = tmp_path / "parameters.json"
        parameters.write_text(json.dumps({"attempt": attempt}))
        try:
            status = run_program(number_program, ["--parameters", str(parameters)], opener=lambda _: store)
        except SelfieError:
            continue
        if status == 0:
            break
    is_right(sound)


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=3650)])
async def test_a_clock_that_jumps_loses_nothing(make_store, sound: Store, jump: timedelta):
    store, _ = make_store(0, 0.0)
    offset = timedelta()
    work = Work()

    def now() -> datetime:
        return datetime.now(UTC) + offset

    async def jumping(owner: str) -> None:
        nonlocal offset
        runner = runner_on(store, work, owner=owner, now=now)
        attempt, request = request_of(store, 1)
        request_id = str(uuid.uuid5(uuid.NAMESPACE_URL, "one"))
        for _ in range(20):
            operation = await runner.start(
                method=METHOD, request_id=request_id, attempt=attempt, request=request
            )
            operation = await ended(runner, operation.name)
            if operation.HasField("response"):
                break
            offset += jump
        await runner.close()

    await asyncio.gather(jumping("first"), jumping("second"))
    is_right(sound)


async def test_work_whose_owner_died_before_the_clock_was_put_back_is_taken_over(make_store, sound: Store):
    store, _ = make_store(0, 0.0)
    ahead = runner_on(store, Work(), owner="ahead", now=lambda: datetime.now(UTC) + timedelta(hours=2))
    attempt, request = request_of(store, 1)
    operation = await ahead.start(method=METHOD, request_id="r", attempt=attempt, request=request)
    await ahead.close()
    sound.delete(f"{STEP}/manifest.json")
    record = read_record(sound, STEP, 1)
    assert record is not None
    sound.write(f"{STEP}/a1/operation.json", record.model_copy(update={"state": "running"}).to_json())
    successor = runner_on(store, Work(), owner="successor")
    assert (await ended(successor, operation.name)).done
    is_right(sound)


@pytest.mark.parametrize("damage", ["altered", "missing", "torn"])
async def test_a_finished_shard_that_is_damaged_is_made_again(make_store, sound: Store, damage: str):
    store, _ = make_store(0, 0.0)

    work = Work()
    work.before_shard = lambda context, index: context.stop("stopped") if index == SHARDS - 2 else None
    first = runner_on(store, work, owner="first")
    attempt, request = request_of(store, 1)
    operation = await first.start(method=METHOD, request_id="r", attempt=attempt, request=request)
    await ended(first, operation.name)
    await first.close()
    finished = sorted(path for path in sound.list(STEP) if path.endswith(".parquet"))
    target = finished[0]
    match damage:
        case "altered":
            sound.write(target, b"another")
        case "missing":
            sound.delete(target)
        case _:
            sound.write(target, sound.read(target)[:100])
    again = Work()
    second = runner_on(store, again, owner="second")
    await second.start(method=METHOD, request_id="r", attempt=attempt, request=request)
    assert (await ended(second, operation.name)).HasField("response")
    is_right(sound)
    assert ("second", 0) in again.made
