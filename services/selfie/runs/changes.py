"""Tells what may change in a run that has started from what may not."""

from typing import Any

from selfie.runs.resolving import resolved
from selfie.runs.spec import MethodFields, RunSpec


def changed_immutable_fields(old: RunSpec, new: RunSpec, *, terminal: bool = False) -> list[str]:
    """Paths of the fields that may not change once the run has started, and did.

    Rounds may be added at the end while the run is not ``terminal``. A default that is merely
    written out is no change.
    """
    before, after = (_immutable(spec) for spec in (old, new))
    if not terminal:
        after["rounds"] = after["rounds"][: len(before["rounds"])]
    return _differences(before, after, "spec")


def _immutable(spec: RunSpec) -> dict[str, Any]:
    names = set(MethodFields.model_fields)
    return resolved(spec).model_dump(mode="json", by_alias=True, include=names)


def _differences(old: object, new: object, path: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [found for key in old for found in _differences(old[key], new[key], f"{path}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for index, (a, b) in pairs for found in _differences(a, b, f"{path}[{index}]")]
    return [] if old == new else [path]
