"""Records of long work: who does it, how far it is, when it was last alive.

The record lies in the attempt's directory of the store, so that any replica of a service can
answer for the operation and take it over when its owner has died. Here are only the records;
the work is elsewhere.
"""

import base64
import binascii
import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from selfie import errors
from selfie.artifacts.manifests import Record
from selfie.artifacts.paths import check_path
from selfie.artifacts.store import Store

State = Literal["running", "succeeded", "failed", "cancelled"]

_CODES: dict[type[errors.SelfieError], str] = {
    errors.InvalidInput: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.AlreadyExists: "ALREADY_EXISTS",
    errors.FailedPrecondition: "FAILED_PRECONDITION",
    errors.Overloaded: "RESOURCE_EXHAUSTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.DataCorrupted: "DATA_LOSS",
    errors.Cancelled: "CANCELLED",
}
_NAME = re.compile(r"operations/([A-Za-z0-9_-]+)")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://.+")
_MAX_ATTEMPT = 10_000


class OperationError(Record):
    """How work ended badly: the name of the canonical code, the reason, the words for people."""

    code: str
    reason: str
    message: str
    retryable: bool = False

    @classmethod
    def of(cls, error: errors.SelfieError) -> "OperationError":
        """The error as it is recorded."""
        code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), "INTERNAL")
        return cls(code=code, reason=error.reason, message=str(error), retryable=error.retryable)


class OperationRecord(Record):
    """One operation.

    ``request`` is the request's protobuf in base64, from which another replica can go on;
    ``rows_total`` is 0 while unknown; ``asked_at`` is when somebody last asked about it.
    """

    request_id: str
    method: str
    request: str
    run_uid: str
    state: State
    owner: str
    heartbeat_at: AwareDatetime
    asked_at: AwareDatetime | None = None
    started_at: AwareDatetime
    rows_done: Annotated[int, Field(ge=0)] = 0
    rows_total: Annotated[int, Field(ge=0)] = 0
    error: OperationError | None = None

    def same_request(self, other: "OperationRecord") -> bool:
        """Whether both stand for the same call with the same arguments."""
        return (self.method, self.request) == (other.method, other.request)

    def beating(self, now: datetime, progressed: tuple[int, int]) -> "OperationRecord":
        """The record with a new heartbeat; ``progressed`` is (rows done, rows in all)."""
        done, total = progressed
        return self._with(heartbeat_at=now, rows_done=done, rows_total=total)

    def taken_over(self, owner: str, now: datetime) -> "OperationRecord":
        """The record of the same work, running again in the hands of ``owner``."""
        return self._with(owner=owner, heartbeat_at=now, state="running", error=None)

    def ended(
        self, state: State, now: datetime, progressed: tuple[int, int], error: errors.SelfieError | None
    ) -> "OperationRecord":
        """The record of work that is over."""
        recorded = None if error is None else OperationError.of(error)
        return self.beating(now, progressed)._with(state=state, error=recorded)

    def _with(self, **changes: object) -> "OperationRecord":
        return OperationRecord.model_validate({**dict(self), **changes})


def record_path(step: str, attempt: int) -> str:
    """Where the record of an attempt lies under the run's root."""
    return check_path(f"{step}/a{attempt}/operation.json", field="step")


def read_record(store: Store, step: str, attempt: int) -> OperationRecord | None:
    """The attempt's record; None if it was never started, `DataCorrupted` if it can't be read."""
    path = record_path(step, attempt)
    try:
        data = store.read(path)
    except errors.NotFound:
        return None
    try:
        return OperationRecord.model_validate_json(data)
    except ValidationError as error:
        raise errors.DataCorrupted(f"{store.uri}/{path} is not an operation's record: {error}") from error


def create_record(store: Store, step: str, attempt: int, record: OperationRecord) -> None:
    """Starts an operation: `AlreadyExists` if the attempt has one."""
    store.create(record_path(step, attempt), record.to_json())


def write_record(store: Store, step: str, attempt: int, record: OperationRecord) -> None:
    """Puts the record in place of the one that is there."""
    store.write(record_path(step, attempt), record.to_json())


def is_alive(record: OperationRecord, now: datetime, lease_s: float = 30) -> bool:
    """Whether somebody works on it: it runs, and its heartbeat is at most ``lease_s`` seconds away.

    One from further ahead was made before the clock was put back, and says nothing.
    """
    return record.state == "running" and abs(now - record.heartbeat_at) <= timedelta(seconds=lease_s)


def operation_name(run_uri: str, step: str, attempt: int) -> str:
    """The one name of an attempt's operation, from which any replica finds its record."""
    fields = json.dumps([run_uri, step, attempt], separators=(",", ":"), ensure_ascii=False)
    return "operations/" + base64.urlsafe_b64encode(fields.encode()).decode().rstrip("=")


def parse_operation_name(name: str) -> tuple[str, str, int]:
    """Run URI, step and attempt of an operation; `InvalidInput` for a name that none has."""
    found = _fields(name)
    if found is None or operation_name(*found) != name:
        raise errors.InvalidInput(
            "name", f"{name!r} is not an operation's name", "use the name as it was returned"
        )
    return found


def _fields(name: str) -> tuple[str, str, int] | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    encoded = match[1]
    try:
        fields = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError):
        return None
    match fields:
        case [str(uri), str(step), int(attempt)] if _URI.fullmatch(uri) and _is_attempt(step, attempt):
            return uri, step, attempt
    return None


def _is_attempt(step: str, attempt: int) -> bool:
    try:
        check_path(step)
    except errors.InvalidInput:
        return False
    # bool is an int to Python; an attempt is not true.
    return type(attempt) is int and 1 <= attempt <= _MAX_ATTEMPT
