"""What Prometheus is told of jobs by the controller that answers for them."""

from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from selfie.artifacts.programs import Attempt
from selfie.training.job import Job
from selfie.training.metrics import FORGOTTEN_AFTER_S, JobBoard, WatchedJobs
from selfie.training.outcomes import Progress
from selfie.training.records import JobRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {"namespace": "team", "run": "toy", "round": "1", "step": "train"}
PROGRESS = Progress(
    done=3, total=12, eta_seconds=9, measures={"loss": 0.5, "tokens_per_second": 80.0, "memory_bytes": 1e9}
)


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def job(state: str = "running", *, uri: str = "s3://bucket/team/toy-1f0c3") -> Job:
    attempt = Attempt(run_uri=uri, step="rounds/01/train", number=1, run_uid="u")
    record = JobRecord(
        request_id="r", program="train", attempt=attempt, parameters={}, created_at=NOW, changed_at=NOW
    )
    return Job(record, state, PROGRESS, starts=2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> JobBoard:
    return JobBoard(clock)


def value(board: JobBoard, name: str, labels: dict[str, str] = LABELS) -> float | None:
    registry = CollectorRegistry()
    registry.register(board)
    return registry.get_sample_value(name, labels)


def test_a_running_job_tells_how_far_and_how_fast_it_is(board: JobBoard):
    board.note(job())
    found = {
        name: value(board, f"selfie_training_{name}")
        for name in (
            "progress_ratio",
            "eta_seconds",
            "starts",
            "loss_nats",
            "tokens_per_second",
            "memory_bytes",
        )
    }
    assert found == {
        "progress_ratio": 0.25,
        "eta_seconds": 9,
        "starts": 2,
        "loss_nats": 0.5,
        "tokens_per_second": 80,
        "memory_bytes": 1e9,
    }


def test_a_run_on_a_laptop_goes_by_its_own_name(board: JobBoard):
    board.note(job(uri="file:///home/me/runs/toy"))
    assert value(board, "selfie_training_starts", {**LABELS, "namespace": "local"}) == 2


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_job_that_has_ended_is_told_of_no_longer(board: JobBoard, state: str):
    board.note(job())
    board.note(job(state))
    assert not list(board.collect())


def test_a_job_that_nobody_asks_about_is_forgotten(board: JobBoard, clock: Clock):
    board.note(job())
    clock.time += FORGOTTEN_AFTER_S + 1
    assert not list(board.collect())


async def test_every_answer_is_noted(board: JobBoard):
    class Jobs:
        async def get(self, name: str) -> Job:
            return job()

    assert (await WatchedJobs(Jobs(), board).get("jobs/x")).starts == 2  # type: ignore[arg-type]
    assert value(board, "selfie_training_starts") == 2
