"""How the specifications of runs differ, and which of them differ in their random seed alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfie.compare.shape import FieldDifference
from selfie.runs.resolving import resolved
from selfie.runs.spec import MethodFields, RunSpec

# Where things lie, and what was taken over from where, is not what a run does.
_NO_METHOD = frozenset({"random_seed", "artifacts", "resume_from"})


def spec_differences(specs: Mapping[str, RunSpec]) -> tuple[FieldDifference, ...]:
    """Every field that is not the same in all, by its path. A default that is written out is the default."""
    flat = {
        name: dict(_leaves(resolved(spec).model_dump(mode="json", by_alias=True, exclude_none=True), "spec"))
        for name, spec in specs.items()
    }
    paths = {path: None for leaves in flat.values() for path in leaves}
    return tuple(
        FieldDifference(path, {name: leaves[path] for name, leaves in flat.items() if path in leaves})
        for path in paths
        if any(leaves.get(path) != next(iter(flat.values())).get(path) for leaves in flat.values())
    )


def replicates(specs: Mapping[str, RunSpec]) -> list[list[str]]:
    """Names of the runs whose method is the same but for the random seed, two or more each."""
    alike: dict[str, list[str]] = {}
    for name, spec in specs.items():
        alike.setdefault(_method(spec), []).append(name)
    return [names for names in alike.values() if len(names) > 1]


def _method(spec: RunSpec) -> str:
    names = set(MethodFields.model_fields) - _NO_METHOD
    return json.dumps(resolved(spec).model_dump(mode="json", include=names), sort_keys=True)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for index, below in enumerate(value):
            yield from _leaves(below, f"{path}[{index}]")
    else:
        yield path, value
