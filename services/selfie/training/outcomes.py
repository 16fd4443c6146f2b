"""What a program leaves beside its job: how far it is, or how it failed."""

from typing import TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from selfie.artifacts.programs import ERROR_FILE
from selfie.artifacts.progress import PROGRESS_FILE
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, NotFound


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Progress(_Written):
    """How far a program is, in its own units; ``eta_seconds`` is 0 while unknown."""

    done: int = 0
    total: int = 0
    activity: str = ""
    measures: dict[str, float] = {}
    updated_at: AwareDatetime | None = None
    eta_seconds: float = 0.0


class Failure(_Written):
    """Why a program failed."""

    reason: str
    message: str
    retryable: bool = False


class _ErrorFile(_Written):
    error: Failure


_W = TypeVar("_W", bound=_Written)


def read_progress(store: Store, attempt_path: str) -> Progress | None:
    """The latest progress; None before the first."""
    return _read(store, f"{attempt_path}/{PROGRESS_FILE}", Progress)


def read_failure(store: Store, attempt_path: str) -> Failure | None:
    """The error that ended the program; None if none was written."""
    found = _read(store, f"{attempt_path}/{ERROR_FILE}", _ErrorFile)
    return None if found is None else found.error


def write_failure(store: Store, attempt_path: str, failure: Failure) -> None:
    """Records why an attempt failed whose program could not say so itself."""
    store.write(f"{attempt_path}/{ERROR_FILE}", _ErrorFile(error=failure).model_dump_json().encode())


def told(failure: Failure, log: str) -> str:
    """What people are told: why, and the last lines of the log, where there are any."""
    message = f"{failure.reason}: {failure.message}"
    return f"{message}\nLast lines of its log:\n{log}" if log else message


def _read(store: Store, path: str, kind: type[_W]) -> _W | None:
    try:
        data = store.read(path)
    except NotFound:
        return None
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise DataCorrupted(f"{store.uri}/{path} is not what a program writes there: {error}") from error
