"""What is kept of objects: an object as Python has it takes several times the memory of its JSON.

Of thousands of runs, most of which have ended, only a few are looked at at a time: of each there is an
outline of what is asked of all of them, and the whole as compressed text. Of their children there are
the parts that tell how they stand; whoever changes one reads it anew.
"""

import json
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from selfie.kube.objects import DEPLOYMENT, JOB, POD, SERVICE, Kind, Object

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
_OF_CHILDREN = (*_METADATA, "annotations", "ownerReferences")
_SPEC: Final[Mapping[Kind, tuple[str, ...]]] = {
    DEPLOYMENT: ("replicas", "selector"),
    SERVICE: ("selector", "clusterIP"),
}
_STATUS: Final[Mapping[Kind, tuple[str, ...]]] = {
    DEPLOYMENT: ("conditions",),
    POD: ("phase", "conditions", "initContainerStatuses", "containerStatuses"),
    JOB: ("conditions",),
}
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


def child_of(kind: Kind) -> Callable[[Object], Object]:
    """Keeps of a run's child what says whose it is, what it was made for, and how it stands."""

    def kept(found: Object) -> Object:
        spec = found.get("spec") or {}
        parts = _parts(spec, _SPEC.get(kind, ()))
        if "template" in spec:
            metadata = spec["template"].get("metadata") or {}
            parts["template"] = {"metadata": _parts(metadata, ("labels",))}
        return {
            **_parts(found, ("apiVersion", "kind")),
            "metadata": _parts(found["metadata"], _OF_CHILDREN),
            "spec": parts,
            "status": _parts(found.get("status") or {}, _STATUS.get(kind, ())),
        }

    return kept


def _condition(entry: Object) -> Object:
    # Of few kinds, and so the same strings for all runs.
    return {name: sys.intern(str(entry.get(name, ""))) for name in ("type", "status", "reason")}


def _parts(whole: Object, names: tuple[str, ...]) -> Object:
    return {name: whole[name] for name in names if name in whole}
