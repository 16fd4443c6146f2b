"""How a program of a run starts and ends: the same for all of them.

A program is told what to do by one JSON file, publishes one manifest, and leaves ``error.json``
in its attempt when it fails, so that its controller need not guess from an exit code and a log.
"""

import argparse
import json
import logging
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import Manifest, Record, publish, read_manifest
from selfie.artifacts.paths import check_path
from selfie.artifacts.starts import begin, start_uid, superseded
from selfie.artifacts.store import Store, open_store
from selfie.errors import AlreadyExists, InvalidInput, SelfieError

ERROR_FILE = "error.json"
PARAMETERS_FILE = "parameters.json"

# What a program does: (store, parameters) -> the manifest that `run_program` publishes.
Program = Callable[[Store, dict[str, Any]], Manifest]
_P = TypeVar("_P", bound=BaseModel)

logger = logging.getLogger(__name__)


class Attempt(Record):
    """The attempt that a program works on, as its parameters have it under ``attempt``."""

    run_uri: str
    step: str
    number: Annotated[int, Field(ge=1)]
    run_uid: str

    @property
    def path(self) -> str:
        """Directory of the attempt under the run's root."""
        return check_path(f"{self.step}/a{self.number}", field="attempt.step")

    @property
    def round(self) -> int:
        """Number of the round that the step belongs to; 0 for what comes before the first."""
        found = re.match(r"rounds/(\d+)/", self.step)
        return int(found[1]) if found else 0

    def manifest(self, *, writer: str, started_at: datetime, **fields: Any) -> Manifest:
        """The step's manifest, finished now; ``fields`` are those that the program knows."""
        return Manifest(
            run_uid=self.run_uid,
            round=self.round,
            step=self.step,
            attempt=self.number,
            writer=writer,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            **fields,
        )


def new_writer() -> str:
    """A name for the files of this start of a program, which no other start has."""
    return uuid.uuid4().hex[:12]


def parse(model: type[_P], value: Any, *, field: str = "parameters") -> _P:
    """The value as ``model``; `InvalidInput` names the first wrong field as ``<field>.<path>``."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join([field, *(str(part) for part in first["loc"])])
        raise InvalidInput(path, first["msg"], f"see the fields of {model.__name__}") from error


def run_program(
    program: Program, arguments: Sequence[str] | None = None, *, opener: Callable[[str], Store] = open_store
) -> int:
    """Runs ``program`` with the JSON in ``--parameters FILE`` and publishes its manifest.

    Returns the exit status, one of `Exit`. Of an error, ``error.json`` in the attempt has reason,
    message and whether trying again can help. Of ranks that train together the first one publishes.
    """
    parser = argparse.ArgumentParser(description="A program of a run, started by its training controller.")
    parser.add_argument("--parameters", type=Path, required=True, metavar="FILE", help="JSON of the program")
    path = parser.parse_args(arguments).parameters
    _quieten()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.TERMINATED))
    try:
        return _run(program, path, opener)
    finally:
        signal.signal(signal.SIGTERM, before)


def rank() -> int:
    """Which of the processes that train together this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def _run(program: Program, path: Path, opener: Callable[[str], Store]) -> int:
    parameters = json.loads(path.read_bytes())
    attempt = parse(Attempt, parameters.get("attempt"), field="parameters.attempt")
    store = opener(attempt.run_uri)
    try:
        if read_manifest(store, attempt.step) is None:
            return _do(program, store, attempt, parameters)
    except Exception as error:
        # The one place where errors end: the process does, and the attempt says why.
        logger.log(
            logging.ERROR, "the program failed: %s", error, exc_info=not isinstance(error, SelfieError)
        )
        _record(store, attempt, error)
        return Exit.INVALID_INPUT if isinstance(error, InvalidInput) else Exit.FAILED
    return Exit.DONE


def _do(program: Program, store: Store, attempt: Attempt, parameters: dict[str, Any]) -> int:
    if rank() > 0:
        program(store, parameters)
        return Exit.DONE
    start = begin(store, attempt.path, uid=start_uid(os.environ, new_writer()))
    manifest = program(store, parameters)
    why = superseded(store, attempt.step, attempt.number, start)
    if why is not None:
        logger.warning("start %d publishes nothing: %s", start.number, why.name)
        return why
    publish(store, manifest)
    return Exit.DONE


def _record(store: Store, attempt: Attempt, error: Exception) -> None:
    path = f"{attempt.path}/{ERROR_FILE}"
    if rank() == 0:
        store.write(path, _describe(error))
        return
    with suppress(AlreadyExists):
        store.create(path, _describe(error))


def _describe(error: Exception) -> bytes:
    if isinstance(error, SelfieError):
        described = {"reason": error.reason, "message": str(error), "retryable": error.retryable}
    else:
        # Memory, a full disk or a lost mount may be better at the next start; a bug stays what it is.
        retryable = isinstance(error, OSError | MemoryError)
        message = f"{type(error).__name__}: {error}"
        described = {"reason": "Internal", "message": message, "retryable": retryable}
    return json.dumps({"error": described}).encode()


def _quieten() -> None:
    """Keeps progress bars of libraries, which are made for terminals, out of the log."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
