"""What becomes of jobs: started once, followed by what they leave in the store, stopped on request.

Nothing is remembered here. Every answer is put together anew from the attempt's directory and the
process itself, so it makes no difference which controller is asked, nor how often it was restarted.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from pydantic import JsonValue

from selfie.artifacts.manifests import Manifest, ManifestRef, manifest_path, read_ref
from selfie.artifacts.programs import ERROR_FILE, Attempt
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, InvalidInput, NotFound
from selfie.training import pages, records
from selfie.training.outcomes import Failure, Progress, read_failure, read_progress
from selfie.training.records import JobRecord, ProcessId, ProgramName

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
LOG_LINES = 20
_DEFAULT_PAGE = 100
_START_SECONDS = 30


class Processes(Protocol):
    """Where programs run."""

    def exclusive(self, attempt: Attempt) -> AbstractContextManager[None]: ...
    def launch(self, store: Store, record: JobRecord) -> ProcessId: ...
    def is_alive(self, process: ProcessId) -> bool: ...
    def terminate(self, process: ProcessId) -> None: ...
    def log_tail(self, store: Store, attempt: Attempt, lines: int) -> str: ...


@dataclass(frozen=True)
class Job:
    """A job as it is now; ``published`` is there when it has succeeded, ``message`` when it has failed."""

    record: JobRecord
    state: State
    progress: Progress | None = None
    published: tuple[ManifestRef, Manifest] | None = None
    message: str = ""
    retryable: bool = False
    lost: bool = False

    @property
    def ended(self) -> bool:
        """Whether it stays as it is until it is created again."""
        return self.state not in ("pending", "running")


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
            parameters=_with_attempt(parameters, attempt),
            created_at=self._now(),
            changed_at=self._now(),
        )
        with self._processes.exclusive(attempt):
            found = records.read_record(store, attempt.step, attempt.number)
            if found is None:
                return self._start(store, asked)
            _require_same(found, asked)
            job = self._look(store, found)
            stopped = job.lost or job.state == "cancelled"
            return self._start(store, found) if stopped and found.request_id == request_id else job

    def get(self, name: str) -> Job:
        """The job of that name; `NotFound` if there is none."""
        store, record = self._find(name)
        return self._look(store, record)

    def page(self, run_uri: str, *, size: int = 0, token: str = "") -> tuple[list[Job], str]:
        """Jobs of a run by path, and the token of the next page; empty after the last one."""
        store = self._open_store(run_uri)
        after = pages.path_of(token)
        paths = [path for path in store.list("") if path.endswith(f"/{records.RECORD_FILE}") and path > after]
        taken = paths[: size or _DEFAULT_PAGE]
        found = [records.read_record_at(store, path) for path in taken]
        jobs = [self._look(store, record) for record in found if record is not None]
        return jobs, pages.token_of(taken[-1]) if len(paths) > len(taken) else ""

    def cancel(self, name: str) -> Job:
        """Stops the job and returns it; one that has ended stays as it is."""
        store, record = self._find(name)
        with self._processes.exclusive(record.attempt):
            job = self._look(store, self._find(name)[1])
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

    def _find(self, name: str) -> tuple[Store, JobRecord]:
        run_uri, step, number = records.parse_job_name(name)
        store = self._open_store(run_uri)
        record = records.read_record(store, step, number)
        if record is None:
            raise NotFound(f"{step}, attempt {number}, of {run_uri} has no job; create it first")
        return store, record

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
        if (published := _published(store, record.attempt)) is not None:
            return Job(record, "succeeded", read_progress(store, path), published)
        if record.state == "cancelled" and not alive:
            return Job(record, "cancelled", read_progress(store, path))
        if (failure := read_failure(store, path)) is not None:
            return self._failed(store, record, failure)
        if alive:
            return Job(record, "running", read_progress(store, path))
        if record.state == "pending" and self._now() - record.changed_at < timedelta(seconds=_START_SECONDS):
            return Job(record, "pending")
        return self._failed(store, record, _LOST)

    def _failed(self, store: Store, record: JobRecord, failure: Failure) -> Job:
        log = self._processes.log_tail(store, record.attempt, LOG_LINES)
        message = f"{failure.reason}: {failure.message}"
        return Job(
            record,
            "failed",
            read_progress(store, record.attempt.path),
            message=f"{message}\nLast lines of its log:\n{log}" if log else message,
            retryable=failure.retryable,
            lost=failure is _LOST,
        )


_LOST = Failure(
    reason="ProcessLost",
    message="the process is gone and left neither a result nor an error; create the job again to go on",
    retryable=True,
)


def _published(store: Store, attempt: Attempt) -> tuple[ManifestRef, Manifest] | None:
    """The step's manifest, by whichever attempt: a step is done when its manifest is there."""
    path = manifest_path(attempt.step)
    try:
        ref = ManifestRef.of(path, store.read(path))
    except NotFound:
        return None
    return ref, read_ref(store, ref)


def _with_attempt(parameters: Mapping[str, JsonValue], attempt: Attempt) -> dict[str, JsonValue]:
    """The parameters with the attempt that they are for, which the caller need not repeat."""
    own: dict[str, JsonValue] = attempt.model_dump(mode="json", by_alias=True)
    given = parameters.get("attempt", own)
    if given != own:
        raise InvalidInput("parameters_json.attempt", f"{given} is not the request's attempt", "leave it out")
    return {**parameters, "attempt": own}


def _require_same(found: JobRecord, asked: JobRecord) -> None:
    names = sorted({*found.parameters, *asked.parameters})
    differing = [
        f"parameters_json.{name}"
        for name in names
        if found.parameters.get(name) != asked.parameters.get(name)
    ]
    if found.program != asked.program:
        differing.insert(0, "program")
    if differing:
        attempt = found.attempt
        raise AlreadyExists(
            f"{attempt.step}, attempt {attempt.number}, already has a job with another "
            f"{', '.join(differing)}; start another attempt"
        )
