"""What a job is said to be, from what its attempt's directory and its process show."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.programs import Attempt
from selfie.artifacts.store import Store, open_store
from selfie.errors import AlreadyExists, DataCorrupted
from selfie.training.core import JobController
from selfie.training.records import JobRecord, ProcessId, job_name, write_record

STEP = "rounds/01/train"


class Processes:
    """Processes that live as long as they are told to; ``launch`` may fail."""

    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.fails = False

    @contextmanager
    def exclusive(self, attempt: Attempt) -> Iterator[None]:
        yield

    def launch(self, store: Store, record: JobRecord) -> ProcessId:
        if self.fails:
            raise OSError("no memory")
        self.alive.add(100 + record.starts)
        return ProcessId(pid=100 + record.starts, birth="b")

    def is_alive(self, process: ProcessId) -> bool:
        return process.pid in self.alive

    def terminate(self, process: ProcessId) -> None:
        self.alive.discard(process.pid)

    def log_tail(self, store: Store, attempt: Attempt, lines: int) -> str:
        return ""


class World:
    """A controller, its processes, its store, and a clock that stands still."""

    def __init__(self, root: Path) -> None:
        self.store = open_store(f"file://{root}")
        self.attempt = Attempt(run_uri=self.store.uri, step=STEP, number=1, run_uid="u")
        self.processes = Processes()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.controller = JobController(
            open_store=lambda _: self.store, processes=self.processes, now=lambda: self.now
        )

    def create(self, **parameters: Any) -> Any:
        asked = {"beta": 0.1, **parameters}
        return self.controller.create(self.attempt, request_id="r", program="train", parameters=asked)

    def get(self) -> Any:
        return self.controller.get(job_name(self.attempt))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_job_whose_start_was_interrupted_is_pending_and_then_lost(world: World) -> None:
    world.processes.fails = True
    with pytest.raises(OSError, match="no memory"):
        world.create()
    assert world.get().state == "pending"
    world.now += timedelta(seconds=31)
    assert (world.get().state, world.get().lost) == ("failed", True)
    world.processes.fails = False
    assert (world.create().state, world.get().record.starts) == ("running", 1)


def test_the_error_of_an_earlier_start_does_not_end_the_next_one(world: World) -> None:
    world.create()
    world.processes.alive.clear()
    assert world.get().lost
    world.create()
    world.store.write(
        f"{STEP}/a1/error.json", b'{"error": {"reason": "R", "message": "m", "retryable": false}}'
    )
    world.processes.alive.clear()
    failed = world.get()
    assert (failed.state, failed.message, failed.retryable, failed.lost) == ("failed", "R: m", False, False)
    cancelled = failed.record.changed(state="cancelled")
    write_record(world.store, cancelled)
    assert world.create().state == "running"
    assert not world.store.exists(f"{STEP}/a1/error.json")


def test_what_changes_no_result_may_change_and_acts_at_the_next_start(world: World) -> None:
    world.create(microBatch=4)
    assert world.create(microBatch=2).record.parameters["microBatch"] == 4
    world.processes.alive.clear()
    assert world.create(microBatch=2).record.parameters["microBatch"] == 2
    with pytest.raises(AlreadyExists, match="beta"):
        world.create(beta=0.2)


def test_a_job_that_was_cancelled_is_running_until_its_process_is_gone(world: World) -> None:
    record = world.create().record.changed(state="cancelled")
    write_record(world.store, record)
    assert world.get().state == "running"
    assert world.controller.cancel(job_name(world.attempt)).state == "cancelled"


def test_a_torn_record_is_told_from_none(world: World) -> None:
    world.create()
    world.store.write(f"{STEP}/a1/job.json", b"{")
    with pytest.raises(DataCorrupted, match="is not a job's record"):
        world.get()
