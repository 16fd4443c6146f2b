"""What becomes of jobs: started once, followed by what they leave in the store, stopped on request.

Nothing is remembered here. Every answer is put together anew from the attempt's directory and the
process itself, so it makes no difference which controller is asked, nor how often it was restarted.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from pydantic import JsonValue

from selfie.artifacts.programs import ERROR_FILE, Attempt
from selfie.artifacts.store import Store
from selfie.errors import NotFound
from selfie.runs.programs import ProgramName
from selfie.training import records
from selfie.training.job import LOG_LINES, LOST, Job, find, published, record_page, require_same, with_attempt
from selfie.training.outcomes import Failure, read_failure, read_progress, told
from selfie.training.records import JobRecord, ProcessId

_START_SECONDS = 30


class Processes(Protocol):
    """Where programs run."""

    def exclusive(self, attempt: Attempt) -> AbstractContextManager[None]: ...
    def launch(self, store: Store, record: JobRecord) -> ProcessId: ...
    def is_alive(self, process: ProcessId) -> bool: ...
    def terminate(self, process: ProcessId) -> None: ...
    def log_tail(self, store: Store, attempt: Attempt, lines: int) -> str: ...


class JobController:
    """Creates, finds, lists and stops jobs; may be used from many threads."""

    def __init__(
        self,
        *,
        open_store: Callable[[str], Store],
        processes: Processes,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._open_store = open_store
        self._processes = processes
        self._now = now
        self._started: dict[str, ProcessId] = {}

    def create(
        self,
        attempt: Attempt,
        *,
        request_id: str,
        program: ProgramName,
        parameters: Mapping[str, JsonValue],
    ) -> Job:
        """Starts the attempt's job, or returns the one that it has.

        The same request starts again what was cancelled, or lost with its process: the program goes
        on from its checkpoint. `AlreadyExists`, which names what differs, for other parameters.
        """
        store = self._open_store(attempt.run_uri)
        asked = JobRecord(
            request_id=request_id,
            program=program,
            attempt=attempt,
            parameters=with_attempt(parameters, attempt),
            created_at=self._now(),
            changed_at=self._now(),
        )
        with self._processes.exclusive(attempt):
            found = records.read_record(store, attempt.step, attempt.number)
            if found is None:
                return self._start(store, asked)
            require_same(found, asked)
            job = self._look(store, found)
            stopped = job.lost or job.state == "cancelled"
            if not stopped or found.request_id != request_id:
                return job
            return self._start(store, found.changed(parameters=asked.parameters))

    def get(self, name: str) -> Job:
        """The job of that name; `NotFound` if there is none."""
        store, record = find(self._open_store, name)
        return self._look(store, record)

    def page(self, run_uri: str, *, size: int = 0, token: str = "") -> tuple[list[Job], str]:
        """Jobs of a run by path, and the token of the next page; empty after the last one."""
        store = self._open_store(run_uri)
        found, following = record_page(store, size=size, token=token)
        return [self._look(store, record) for record in found], following

    def cancel(self, name: str) -> Job:
        """Stops the job and returns it; one that has ended stays as it is."""
        store, record = find(self._open_store, name)
        with self._processes.exclusive(record.attempt):
            job = self._look(store, find(self._open_store, name)[1])
            if job.ended and not job.lost:
                return job
            record = job.record.changed(state="cancelled", changed_at=self._now())
            # Written first: if we die in between, the process is stopped by the next one who is asked.
            records.write_record(store, record)
            if record.process is not None:
                self._processes.terminate(record.process)
            return self._look(store, record)

    def close(self) -> None:
        """Stops the jobs that were started here, all at the same time; created again, they go on."""
        alive = [name for name, process in list(self._started.items()) if self._processes.is_alive(process)]
        with ThreadPoolExecutor(max_workers=max(1, len(alive))) as pool:
            list(pool.map(self._stop, alive))

    def _stop(self, name: str) -> None:
        # A run that was deleted meanwhile has no record to write, but still its process.
        with suppress(NotFound):
            self.cancel(name)
        self._processes.terminate(self._started[name])

    def _start(self, store: Store, record: JobRecord) -> Job:
        waiting = record.changed(state="pending", process=None, changed_at=self._now())
        records.write_record(store, waiting)
        # What an earlier start has left would end the new one before it has begun.
        store.delete(f"{record.attempt.path}/{ERROR_FILE}")
        process = self._processes.launch(store, waiting)
        running = waiting.changed(
            state="running", process=process, starts=record.starts + 1, changed_at=self._now()
        )
        records.write_record(store, running)
        self._started[records.job_name(record.attempt)] = process
        return self._look(store, running)

    def _look(self, store: Store, record: JobRecord) -> Job:
        # Asked first: a process that ends while we look has written its result before.
        alive = record.process is not None and self._processes.is_alive(record.process)
        path = record.attempt.path
        found = partial(Job, record, starts=record.starts)
        if (result := published(store, record.attempt.step)) is not None:
            return found("succeeded", read_progress(store, path), result)
        if record.state == "cancelled" and not alive:
            return found("cancelled", read_progress(store, path))
        if (failure := read_failure(store, path)) is not None:
            return self._failed(store, record, failure)
        if alive:
            return found("running", read_progress(store, path))
        if record.state == "pending" and self._now() - record.changed_at < timedelta(seconds=_START_SECONDS):
            return found("pending")
        return self._failed(store, record, _LOST)

    def _failed(self, store: Store, record: JobRecord, failure: Failure) -> Job:
        log = self._processes.log_tail(store, record.attempt, LOG_LINES)
        return Job(
            record,
            "failed",
            read_progress(store, record.attempt.path),
            reason=failure.reason,
            message=told(failure, log),
            retryable=failure.retryable,
            starts=record.starts,
        )


_LOST = Failure(
    reason=LOST,
    message="the process is gone and left neither a result nor an error; create the job again to go on",
    retryable=True,
)


class InThreads:
    """The controller for callers that may not wait: stores and processes block."""

    def __init__(self, controller: JobController) -> None:
        self._controller = controller

    async def create(
        self,
        attempt: Attempt,
        *,
        request_id: str,
        program: ProgramName,
        parameters: Mapping[str, JsonValue],
    ) -> Job:
        return await asyncio.to_thread(
            self._controller.create, attempt, request_id=request_id, program=program, parameters=parameters
        )

    async def get(self, name: str) -> Job:
        return await asyncio.to_thread(self._controller.get, name)

    async def page(self, run_uri: str, *, size: int, token: str) -> tuple[list[Job], str]:
        return await asyncio.to_thread(self._controller.page, run_uri, size=size, token=token)

    async def cancel(self, name: str) -> Job:
        return await asyncio.to_thread(self._controller.cancel, name)
