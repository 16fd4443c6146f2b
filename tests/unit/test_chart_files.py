"""The chart's files, as far as they are read without Helm; `tests/cluster` renders and installs them."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import selfie

CHART = Path(__file__).parents[2] / "charts/selfie"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
WITHOUT_DEFAULT = {
    # What is said by leaving it out: a volume's kind has no default, and Helm's own part is not ours.
    *("global", "artifacts.volume.accessMode", "artifacts.volume.storageClass"),
    # What is there to be refused.
    "runPods.tgi.inPlace",
}
FREE = {
    "nodeSelector",
    "podLabels",
    "podAnnotations",
    "labels",
    "annotations",
    "affinity",
    "requests",
    "limits",
    "spec",
    "accountAnnotations",
}


def in_schema(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for part in schema.get("allOf", ()):
        yield from in_schema(part, path)
    for name, entry in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from in_schema(entry, f"{path}{name}.")


def in_values(values: object, path: str = "") -> Iterator[str]:
    if isinstance(values, dict):
        for name, entry in values.items():
            yield f"{path}{name}"
            if name not in FREE:
                yield from in_values(entry, f"{path}{name}.")


def test_every_value_has_a_default_and_a_type_and_there_are_no_others():
    assert set(in_values(VALUES)) == set(in_schema(SCHEMA)) - WITHOUT_DEFAULT


def objects_of(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for entry in schema.values():
            yield from objects_of(entry)


def test_a_misspelled_value_is_refused_everywhere():
    named = [entry for entry in objects_of(SCHEMA) if entry.get("properties")]
    assert named
    assert not [entry for entry in named if entry.get("additionalProperties") is not False]


@pytest.mark.parametrize("template", sorted(CHART.glob("templates/*.yaml")), ids=lambda path: path.name)
def test_every_right_has_its_reason_beside_it(template: Path):
    lines = [line.strip() for line in template.read_text().splitlines()]
    rights = [above for above, line in itertools.pairwise(lines) if line.startswith("- apiGroups:")]
    assert not [above for above in rights if not above.startswith("# ")]


def test_the_chart_is_of_this_version():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == selfie.__version__


def test_nobody_may_do_everything():
    assert not [
        path.name for path in CHART.glob("templates/*.yaml") if "'*'" in path.read_text().replace('"', "'")
    ]
