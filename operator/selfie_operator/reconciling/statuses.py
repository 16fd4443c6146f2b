"""The status as it is written: what others wrote into it stays, and it never grows too large."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic.alias_generators import to_camel

from selfie.kube.objects import Object
from selfie.runs.conditions import MAX_MESSAGE, shortened
from selfie.runs.status import RunStatus, object_of_status
from selfie_operator.reconciling.subject import other_conditions

MAX_BYTES: Final = 32 * 1024
"""Largest status; every watcher receives every one of them."""

_FIELDS: Final = frozenset(to_camel(name) for name in RunStatus.model_fields)
_SHORTER: Final = (MAX_MESSAGE, 1024, 512, 256, 128)


def status_object(before: Mapping[str, Any] | None, status: RunStatus) -> Object:
    """The status to be written in place of ``before``, equal to it if there is nothing to write."""
    before = before or {}
    kept = {name: value for name, value in before.items() if name not in _FIELDS}
    foreign = other_conditions(before)
    room = MAX_BYTES - size_of({**kept, "conditions": foreign})
    ours = object_of_status(bounded(status, room))
    return {**kept, **ours, "conditions": [*ours["conditions"], *foreign]}


def bounded(status: RunStatus, room: int) -> RunStatus:
    """The status in at most ``room`` bytes: messages keep their ends, then the oldest rounds go."""
    for limit in _SHORTER:
        small = _with_messages(status, limit)
        if size_of(object_of_status(small)) <= room:
            return small
    while small.rounds and size_of(object_of_status(small)) > room:
        small = small.model_copy(update={"rounds": small.rounds[1:]})
    return small


def size_of(data: object) -> int:
    """Bytes of the data as JSON."""
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _with_messages(status: RunStatus, limit: int) -> RunStatus:
    conditions = tuple(
        entry.model_copy(update={"message": shortened(entry.message, limit)}) for entry in status.conditions
    )
    failures = status.failures
    if failures is not None:
        failures = failures.model_copy(update={"message": shortened(failures.message, limit)})
    return status.model_copy(update={"conditions": conditions, "failures": failures})
