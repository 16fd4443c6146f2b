"""Starts of an attempt, and which of them may publish: the newest, and only while no later attempt has begun.

Kubernetes may start a second pod while the first one still runs on a node that nobody can reach.
Each start leaves a record under the next free number, created exclusively, before it begins. Before
it publishes, it looks whether a newer one is there. Where several nodes train together, each has a
row of starts of its own.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, ValidationError

from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import Record
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, DataCorrupted, NotFound, Unavailable

STARTS = "starts"
POD_UID = "SELFIE_POD_UID"
"""Variable with the UID of the pod, from the downward API."""

_NAME = re.compile(r"(\d+)-(\d+)\.json")
_ATTEMPT = re.compile(r"a(\d+)")
_MOST = 10_000


class Start(Record):
    """One start: ``uid`` is the pod's, or a name that no other process has; ``node`` counts from 0."""

    number: Annotated[int, Field(ge=1)]
    uid: str
    node: Annotated[int, Field(ge=0)] = 0
    host: str = ""
    started_at: AwareDatetime


def begin(store: Store, attempt_path: str, *, uid: str, node: int = 0) -> Start:
    """Records this start, unless it is recorded already: a pod has one, whoever of it asks first."""
    newest = max((number for found, number in _numbers(store, attempt_path) if found == node), default=0)
    for number in range(newest, 0, -1):
        known = _read(store, _path(attempt_path, node, number))
        if known is not None and known.uid == uid:
            return known
    host = os.uname().nodename
    for number in range(newest + 1, _MOST):
        start = Start(number=number, uid=uid, node=node, host=host, started_at=datetime.now(UTC))
        try:
            store.create(_path(attempt_path, node, number), start.to_json())
        except AlreadyExists:
            continue
        return start
    raise Unavailable(f"{store.uri}/{attempt_path} was started {_MOST} times; start another attempt")


def count(store: Store, attempt_path: str) -> int:
    """How often the attempt was started: of several nodes, the one that was started most."""
    return max((number for _, number in _numbers(store, attempt_path)), default=0)


def superseded(store: Store, step: str, attempt: int, start: Start) -> Exit | None:
    """Why this start may not publish; None if it may."""
    if later_attempt(store, step, attempt) is not None:
        return Exit.OUTDATED
    path = f"{step}/a{attempt}"
    newer = any(node == start.node and number > start.number for node, number in _numbers(store, path))
    return Exit.SUPERSEDED if newer else None


def later_attempt(store: Store, step: str, attempt: int) -> int | None:
    """Number of the newest attempt that has begun at the step after this one; None if none has."""
    parts = (path.removeprefix(f"{step}/").partition("/")[0] for path in store.list(step))
    numbers = {int(found[1]) for part in parts if (found := _ATTEMPT.fullmatch(part))}
    newest = max(numbers, default=0)
    return newest if newest > attempt else None


def _numbers(store: Store, attempt_path: str) -> list[tuple[int, int]]:
    """(node, number) of each start, from the names alone."""
    names = (path.rpartition("/")[2] for path in store.list(f"{attempt_path}/{STARTS}"))
    return [(int(found[1]), int(found[2])) for name in names if (found := _NAME.fullmatch(name))]


def _path(attempt_path: str, node: int, number: int) -> str:
    return f"{attempt_path}/{STARTS}/{node:02d}-{number:04d}.json"


def _read(store: Store, path: str) -> Start | None:
    try:
        data = store.read(path)
    except NotFound:
        return None
    try:
        return Start.model_validate_json(data)
    except ValidationError as error:
        raise DataCorrupted(f"{store.uri}/{path} is no record of a start: {error}") from error


def start_uid(environment: Mapping[str, str], otherwise: str) -> str:
    """The UID of this pod; of a process that is in none, the other name."""
    return environment.get(POD_UID) or otherwise
