"""A job as it is answered for, whatever carries it out: what all controllers have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

from selfie.artifacts.manifests import Manifest, ManifestRef, read_published
from selfie.artifacts.programs import Attempt
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, InvalidInput, NotFound
from selfie.runs.programs import ProgramName
from selfie.training import pages, records
from selfie.training.outcomes import Progress
from selfie.training.records import JobRecord

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
LOG_LINES = 20
LOST = "ProcessLost"
"""Reason of a job whose work is gone without a word; created again, it goes on where it was."""

OPERATIONAL = frozenset({"cacheDir", "checkpointSeconds", "microBatch"})
"""Parameters that say how a program works and not what comes of it; they act at the next start."""

_DEFAULT_PAGE = 100


@dataclass(frozen=True)
class Job:
    """A job as it is now; ``published`` is there when it has succeeded, ``message`` when it has failed.

    ``reason`` is a word for machines: why it failed, or what it waits for while it is pending.
    """

    record: JobRecord
    state: State
    progress: Progress | None = None
    published: tuple[ManifestRef, Manifest] | None = None
    reason: str = ""
    message: str = ""
    retryable: bool = False
    starts: int = 0

    @property
    def ended(self) -> bool:
        """Whether it stays as it is until it is created again."""
        return self.state not in ("pending", "running")

    @property
    def lost(self) -> bool:
        """Whether nobody works on it though nobody has ended it."""
        return self.state == "failed" and self.reason == LOST


class Jobs(Protocol):
    """Creates, finds, lists and stops jobs."""

    async def create(
        self,
        attempt: Attempt,
        *,
        request_id: str,
        program: ProgramName,
        parameters: Mapping[str, JsonValue],
    ) -> Job:
        """Starts the attempt's job, or returns the one that it has."""
        ...

    async def get(self, name: str) -> Job:
        """The job of that name; `NotFound` if there is none."""
        ...

    async def page(self, run_uri: str, *, size: int, token: str) -> tuple[list[Job], str]:
        """Jobs of a run, and the token of the next page; empty after the last one."""
        ...

    async def cancel(self, name: str) -> Job:
        """Stops the job; one that has ended stays as it is."""
        ...


def published(store: Store, step: str) -> tuple[ManifestRef, Manifest] | None:
    """The step's manifest, by whichever attempt: a step is done when its manifest is there."""
    found = read_published(store, step)
    return None if found is None else (found[1], found[0])


def with_attempt(parameters: Mapping[str, JsonValue], attempt: Attempt) -> dict[str, JsonValue]:
    """The parameters with the attempt that they are for, which the caller need not repeat."""
    own: dict[str, JsonValue] = attempt.model_dump(mode="json", by_alias=True)
    given = parameters.get("attempt", own)
    if given != own:
        raise InvalidInput("parameters_json.attempt", f"{given} is not the request's attempt", "leave it out")
    return {**parameters, "attempt": own}


def require_same(found: JobRecord, asked: JobRecord) -> None:
    """`AlreadyExists`, which names what differs, unless both say the same work.

    What may change at any time, because it changes no result, makes no other work of it.
    """
    names = sorted({*found.parameters, *asked.parameters} - OPERATIONAL)
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


def find(open_store: Callable[[str], Store], name: str) -> tuple[Store, JobRecord]:
    """The job's store and record; `NotFound` if there is none."""
    run_uri, step, number = records.parse_job_name(name)
    store = open_store(run_uri)
    record = records.read_record(store, step, number)
    if record is None:
        raise NotFound(f"{step}, attempt {number}, of {run_uri} has no job; create it first")
    return store, record


def record_page(store: Store, *, size: int, token: str) -> tuple[list[JobRecord], str]:
    """Records of a run's jobs by path, and the token of the next page; empty after the last one."""
    after = pages.path_of(token)
    paths = [path for path in store.list("") if path.endswith(f"/{records.RECORD_FILE}") and path > after]
    taken = paths[: size or _DEFAULT_PAGE]
    found = [records.read_record_at(store, path) for path in taken]
    kept = [record for record in found if record is not None]
    return kept, pages.token_of(taken[-1]) if len(paths) > len(taken) else ""
