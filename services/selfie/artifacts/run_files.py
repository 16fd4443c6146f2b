"""What is kept of a run beside its steps: who it is, what it does, and how it stands.

Everything that reads a run later, such as its report, finds these three below its root, wherever
the run was made.
"""

import json
from typing import Final

from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, NotFound
from selfie.runs.load import dump_run, parse_run
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, object_of_status, status_from_object

RUN_FILE: Final = "run.yaml"
IDENTITY_FILE: Final = "run.json"
STATUS_FILE: Final = "status.json"


def identify(store: Store, uid: str) -> str:
    """The UID of the run whose root this is: ``uid``, unless it has one already."""
    try:
        return _uid(store)
    except NotFound:
        pass
    try:
        store.create(IDENTITY_FILE, json.dumps({"uid": uid}).encode())
    except AlreadyExists:
        return _uid(store)
    return uid


def read_run(store: Store) -> SelfieRun:
    """The run whose root this is; NotFound with a remedy where there is none."""
    try:
        return parse_run(store.read(RUN_FILE).decode())
    except NotFound as error:
        raise NotFound(f"there is no run at {store.uri}; `selfie run FILE` makes one") from error


def write_run(store: Store, run: SelfieRun) -> None:
    """Keeps what the run is to do."""
    store.write(RUN_FILE, dump_run(run).encode())


def read_status(store: Store) -> RunStatus:
    """The status that was last written below this root."""
    try:
        return status_from_object(json.loads(store.read(STATUS_FILE)))
    except NotFound:
        return RunStatus()


def write_status(store: Store, status: RunStatus) -> None:
    """Keeps how the run stands."""
    store.write(STATUS_FILE, json.dumps(object_of_status(status), indent=2, sort_keys=True).encode())


def _uid(store: Store) -> str:
    return str(json.loads(store.read(IDENTITY_FILE))["uid"])
