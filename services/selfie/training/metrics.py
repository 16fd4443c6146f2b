"""How far jobs are, for Prometheus: a Job dies with its figures, so the controller tells them.

Whoever carries a run out asks about its job every few seconds; each answer is noted here. A job that
has ended, or that nobody asks about any more, is told of no longer.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import REGISTRY
from pydantic import JsonValue

from selfie.artifacts.programs import Attempt
from selfie.errors import InvalidInput
from selfie.monitoring.gauges import Gauges, Sample
from selfie.runs.names import run_at
from selfie.runs.programs import ProgramName
from selfie.runs.steps import step_at
from selfie.training.job import Job, Jobs

FORGOTTEN_AFTER_S: Final = 300.0

_MEASURES: Final = {
    "loss": ("selfie_training_loss_nats", "Mean loss of the last optimizer step."),
    "accuracy": ("selfie_training_accuracy_ratio", "Pairs of that step with a positive margin."),
    "margin": ("selfie_training_margin", "Mean margin of that step, in units of reward."),
    "noisy": ("selfie_training_noisy_pairs", "Pairs of that step taken to be noisy."),
    "tokens_per_second": ("selfie_training_tokens_per_second", "Tokens read, since the trainer's start."),
    "memory_bytes": ("selfie_training_memory_bytes", "Most memory that the trainer has held."),
}
_PROGRESS = ("selfie_training_progress_ratio", "How far the job is, in its own units.")
_ETA = ("selfie_training_eta_seconds", "Estimate of what is left of the job.")
_STARTS = ("selfie_training_starts", "Pods or processes that the job has had.")
_HELP: Final = dict((_PROGRESS, _ETA, _STARTS, *_MEASURES.values()))


class JobBoard(Gauges):
    """Jobs that are pending or running, as they were last answered for; for many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(_HELP)
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, ...], tuple[float, Job]] = {}

    def note(self, job: Job) -> None:
        """The job is so now."""
        attempt = job.record.attempt
        key = (attempt.run_uri, attempt.step)
        with self._lock:
            if job.ended:
                self._jobs.pop(key, None)
            else:
                self._jobs[key] = (self._clock(), job)

    def samples(self) -> Iterator[Sample]:
        """Every figure of the jobs that are told of."""
        for job in self._present():
            labels = labels_of(job.record.attempt)
            yield from ((name, labels, value) for name, value in _figures(job))

    def _present(self) -> list[Job]:
        with self._lock:
            before = self._clock() - FORGOTTEN_AFTER_S
            self._jobs = {key: entry for key, entry in self._jobs.items() if entry[0] >= before}
            return [job for _, job in self._jobs.values()]


BOARD: Final = JobBoard()
REGISTRY.register(BOARD)


class WatchedJobs:
    """Jobs whose every answer the board is told of."""

    def __init__(self, jobs: Jobs, board: JobBoard = BOARD) -> None:
        self._jobs = jobs
        self._board = board

    async def create(
        self,
        attempt: Attempt,
        *,
        request_id: str,
        program: ProgramName,
        parameters: Mapping[str, JsonValue],
    ) -> Job:
        return self._noted(
            await self._jobs.create(attempt, request_id=request_id, program=program, parameters=parameters)
        )

    async def get(self, name: str) -> Job:
        return self._noted(await self._jobs.get(name))

    async def page(self, run_uri: str, *, size: int, token: str) -> tuple[list[Job], str]:
        return await self._jobs.page(run_uri, size=size, token=token)

    async def cancel(self, name: str) -> Job:
        return self._noted(await self._jobs.cancel(name))

    def _noted(self, job: Job) -> Job:
        self._board.note(job)
        return job


def labels_of(attempt: Attempt) -> dict[str, str]:
    """Labels by which the job is its run's, as they are in `selfie.monitoring`."""
    try:
        namespace, run, _ = run_at(attempt.run_uri)
    except InvalidInput:
        # On a laptop a run lies under its own name.
        namespace, run = "local", attempt.run_uri.rstrip("/").rpartition("/")[2]
    step = step_at(attempt.step)
    return {
        "namespace": namespace,
        "run": run,
        "round": str(step.round) if step else "",
        "step": step.name if step else "",
    }


def _figures(job: Job) -> Iterator[tuple[str, float]]:
    yield _STARTS[0], float(job.starts)
    progress = job.progress
    if progress is None:
        return
    if progress.total:
        yield _PROGRESS[0], min(progress.done / progress.total, 1.0)
    if progress.eta_seconds:
        yield _ETA[0], progress.eta_seconds
    for name, (family, _) in _MEASURES.items():
        if name in progress.measures:
            yield family, progress.measures[name]
