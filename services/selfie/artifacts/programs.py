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
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from selfie.artifacts.manifests import Manifest, Record, publish, read_manifest
from selfie.artifacts.paths import check_path
from selfie.artifacts.store import Store, open_store
from selfie.errors import InvalidInput, SelfieError

ERROR_FILE = "error.json"
INVALID_INPUT_STATUS = 2
FAILURE_STATUS = 1
_TERMINATED_STATUS = 128 + signal.SIGTERM

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

    Returns the exit status: 0 when the step is published, by this start or an earlier one; 2 for
    `InvalidInput`, which another attempt can't mend; 1 for every other error. Of an error,
    ``error.json`` in the attempt has reason, message and whether trying again can help.
    """
    parser = argparse.ArgumentParser(description="A program of a run, started by its training controller.")
    parser.add_argument("--parameters", type=Path, required=True, metavar="FILE", help="JSON of the program")
    path = parser.parse_args(arguments).parameters
    _quieten()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED_STATUS))
    try:
        return _run(program, path, opener)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(program: Program, path: Path, opener: Callable[[str], Store]) -> int:
    parameters = json.loads(path.read_bytes())
    attempt = parse(Attempt, parameters.get("attempt"), field="parameters.attempt")
    store = opener(attempt.run_uri)
    try:
        if read_manifest(store, attempt.step) is None:
            publish(store, program(store, parameters))
    except Exception as error:
        # The one place where errors end: the process does, and the attempt says why.
        logger.log(
            logging.ERROR, "the program failed: %s", error, exc_info=not isinstance(error, SelfieError)
        )
        store.write(f"{attempt.path}/{ERROR_FILE}", _describe(error))
        return INVALID_INPUT_STATUS if isinstance(error, InvalidInput) else FAILURE_STATUS
    return 0


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
