"""Operations of a service's runner at toy work: what it makes, where it waits, and the clock it goes by."""

import asyncio
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from google.longrunning import operations_pb2

from selfie.artifacts.manifests import Manifest
from selfie.artifacts.operations import operation_name
from selfie.artifacts.store import Store, open_store
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


def runner_of(
    work: Work, *, owner: str = "first", open_store: Callable[[str], Store] = open_store, **settings: Any
) -> OperationRunner:
    methods = {METHOD: Method(filtering_pb2.FilterDatasetRequest, work)}
    return OperationRunner(open_store=open_store, owner=owner, methods=methods, **settings)


async def start(
    runner: OperationRunner, attempt: artifacts_pb2.Attempt, *, percent: float = 10
) -> operations_pb2.Operation:
    request = filtering_pb2.FilterDatasetRequest(attempt=attempt)
    request.rules.noisy_percent = percent
    return await runner.start(method=METHOD, request_id=str(uuid.uuid4()), attempt=attempt, request=request)


def name_of(attempt: artifacts_pb2.Attempt) -> str:
    return operation_name(attempt.run_uri, attempt.step, attempt.number)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
