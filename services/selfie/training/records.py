"""What a job leaves in its attempt's directory, so that any controller can answer for it.

``job.json`` says what was started and which process it is; all else is read from what the program
itself writes beside it: its manifest, ``error.json``, ``progress.json``, ``log.txt``.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue, ValidationError

from selfie.artifacts.manifests import Record
from selfie.artifacts.operations import operation_name, parse_operation_name
from selfie.artifacts.paths import check_path
from selfie.artifacts.programs import Attempt
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, InvalidInput, NotFound
from selfie.runs.programs import ProgramName

RECORD_FILE = "job.json"


class ProcessId(Record):
    """A process that no later one can be taken for: ``birth`` tells apart those that share a number."""

    pid: int
    birth: str


class Refusal(Record):
    """Why no Job could be made, and after how many seconds that is worth another try."""

    reason: str
    message: str
    again_after_s: float = 60


class JobRecord(Record):
    """One job. ``process`` is the latest of its ``starts``; ``cancelled`` is the only end kept here.

    On a cluster there is no process, and starts have records of their own.
    """

    request_id: str
    program: ProgramName
    attempt: Attempt
    parameters: dict[str, JsonValue]
    state: Literal["pending", "running", "cancelled"] = "pending"
    starts: Annotated[int, Field(ge=0)] = 0
    process: ProcessId | None = None
    refusal: Refusal | None = None
    created_at: AwareDatetime
    changed_at: AwareDatetime

    def changed(self, **changes: object) -> "JobRecord":
        """The record with other values."""
        return JobRecord.model_validate({**dict(self), **changes})


def job_name(attempt: Attempt) -> str:
    """The one name of an attempt's job, from which any controller finds its record."""
    name = operation_name(attempt.run_uri, attempt.step, attempt.number)
    return "jobs/" + name.removeprefix("operations/")


def parse_job_name(name: str) -> tuple[str, str, int]:
    """Run URI, step and attempt of a job; `InvalidInput` for a name that none has."""
    try:
        return parse_operation_name("operations/" + name.removeprefix("jobs/"))
    except InvalidInput as error:
        raise InvalidInput(
            "name", f"{name!r} is not a job's name", "use the name as it was returned"
        ) from error


def read_record(store: Store, step: str, attempt: int) -> JobRecord | None:
    """The attempt's record; None if it has no job, `DataCorrupted` if it can't be read."""
    return read_record_at(store, check_path(f"{step}/a{attempt}/{RECORD_FILE}", field="attempt.step"))


def read_record_at(store: Store, path: str) -> JobRecord | None:
    """The record in the file ``path``; see `read_record`."""
    try:
        data = store.read(path)
    except NotFound:
        return None
    try:
        return JobRecord.model_validate_json(data)
    except ValidationError as error:
        raise DataCorrupted(f"{store.uri}/{path} is not a job's record: {error}") from error


def create_record(store: Store, record: JobRecord) -> None:
    """Puts the record where none is: `AlreadyExists` if there is one."""
    store.create(f"{record.attempt.path}/{RECORD_FILE}", record.to_json())


def write_record(store: Store, record: JobRecord) -> None:
    """Puts the record in place of the one that may be there."""
    store.write(f"{record.attempt.path}/{RECORD_FILE}", record.to_json())
