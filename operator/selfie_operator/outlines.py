"""Runs as they are kept: an outline of what is asked of all of them, and the whole as compressed text.

An object as Python has it takes several times the memory of its JSON. Of thousands of runs, most of
which have ended, only a few are looked at at a time.
"""

import json
import sys
import zlib
from typing import Any

from selfie.kube.objects import Object

_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
)
_WISHES = ("suspend", "cancel")
_STANDING = ("attempt",)
_QUICKLY = 1


class Outline(dict[str, Any]):
    """What there is of a run for those that count and sort; `whole` is all of it."""

    __slots__ = ("_text",)

    def __init__(self, parts: Object, text: bytes) -> None:
        super().__init__(parts)
        self._text = text

    def whole(self) -> Object:
        """The run as it was told, made anew each time."""
        found: Object = json.loads(zlib.decompress(self._text))
        return found


def outline_of(found: Object) -> Outline:
    """The outline of a run; of one that is an outline, the same."""
    if isinstance(found, Outline):
        return found
    # A fifth to a half of an object, and of no use to us.
    metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    whole = {**found, "metadata": metadata}
    text = zlib.compress(json.dumps(whole, separators=(",", ":")).encode(), _QUICKLY)
    spec, status = found.get("spec") or {}, found.get("status") or {}
    return Outline(
        {
            "metadata": _parts(metadata, _METADATA),
            "spec": _parts(spec, _WISHES),
            "status": {
                **_parts(status, _STANDING),
                "conditions": [_condition(entry) for entry in status.get("conditions") or ()],
            },
        },
        text,
    )


def _condition(entry: Object) -> Object:
    # Of few kinds, and so the same strings for all runs.
    return {name: sys.intern(str(entry.get(name, ""))) for name in ("type", "status", "reason")}


def _parts(whole: Object, names: tuple[str, ...]) -> Object:
    return {name: whole[name] for name in names if name in whole}
