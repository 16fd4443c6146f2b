"""From the text of a file, or an object from a cluster, to a SelfieRun; and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from selfie.runs.documents import Document, read_document, write_document
from selfie.runs.explanations import violations_of
from selfie.runs.locations import Location
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import MOST_TOLD, InvalidRun, Violation, and_more

SET_BY_THE_CLUSTER = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""Entries of metadata that `kubectl get -o yaml` adds; they say nothing about what to run."""


def parse_run(text: str) -> SelfieRun:
    """The SelfieRun in a YAML file's text.

    Raises InvalidRun with every mistake at once, each with its line, path and remedy. Combinations
    of fields are looked at once every field is right by itself.
    """
    document = read_document(text)
    try:
        return _validated(document.data)
    except ValidationError as error:
        raise InvalidRun(_with_lines(error.errors(include_url=False), document)) from None


def run_from_object(data: object) -> SelfieRun:
    """The SelfieRun in an object from a cluster's API; raises InvalidRun with every mistake at once."""
    try:
        return _validated(data)
    except ValidationError as error:
        errors = _relevant(error.errors(include_url=False))
        found = [violation for _, violation in violations_of(errors[:MOST_TOLD])]
        raise InvalidRun([*found, *and_more(len(errors))]) from None


def object_of(run: SelfieRun) -> dict[str, Any]:
    """The run as plain data with camelCase keys, without what was never set."""
    return run.model_dump(mode="json", by_alias=True, exclude_none=True)


def dump_run(run: SelfieRun) -> str:
    """The run as YAML that `parse_run` and `kubectl apply` read back as the same run."""
    return write_document(object_of(run))


def _validated(data: object) -> SelfieRun:
    return SelfieRun.model_validate(_without_the_clusters_part(data), by_alias=True, by_name=False)


def _without_the_clusters_part(data: object) -> object:
    if not isinstance(data, Mapping):
        return data
    kept = {key: value for key, value in data.items() if key != "status"}
    metadata = kept.get("metadata")
    if isinstance(metadata, Mapping):
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in SET_BY_THE_CLUSTER}
    return kept


def _relevant(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    # Of another kind of resource, every field would be a mistake, and none of them the one to mend.
    kind = [error for error in errors if error["loc"] in {("apiVersion",), ("kind",)}]
    return kind or errors


def _with_lines(errors: list[ErrorDetails], document: Document) -> list[Violation]:
    relevant = _relevant(errors)
    told = relevant[:MOST_TOLD]
    written: dict[Location, str] = {}
    for error in told:
        node, _ = document.find(error["loc"])
        if isinstance(node, yaml.ScalarNode) and isinstance(error["input"], int | float):
            written[error["loc"]] = node.value
    found = violations_of(told, written=written)
    marks = [(document.find(location)[1], violation) for location, violation in found]
    marks.sort(key=lambda entry: (entry[0].line, entry[0].column))
    placed = [replace(violation, line=mark.line + 1) for mark, violation in marks]
    return [*placed, *and_more(len(relevant))]
