"""What `selfie validate` says to files that are wrong: one line a mistake, with its place and the remedy."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from selfie.cli.__main__ import app
from selfie.runs import combinations
from selfie.runs.load import parse_run
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import InvalidRun, Violation

GOOD = """\
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata:
  name: toy
spec:
  model: {uri: hf://org/model}
  seed: {dataset: seed.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl}
"""
TABLE: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("broken_files.yaml").read_text(encoding="utf-8")
)
CASES = [
    pytest.param(case, id=f"{category}: {case['name']}")
    for category, cases in TABLE.items()
    for case in cases
]


def content_of(case: dict[str, Any]) -> bytes:
    match case:
        case {"bytes": bytes(data)}:
            return data
        case {"text": str(text)}:
            return text.encode()
        case {"repeat": [head, text, times]}:
            return (head + text * times).encode()
        case {"replace": [old, new]}:
            assert GOOD.count(old) == 1
            return GOOD.replace(old, new).encode()
        case {"end": str(text)}:
            return (GOOD + text).encode()
        case {"spec": str(lines)}:
            return (GOOD + "".join(f"  {line}\n" for line in lines.splitlines())).encode()
    raise AssertionError(f"{case['name']} says of no file how it comes about")


def written(case: dict[str, Any], folder: Path) -> Path:
    path = folder / "run.yaml"
    if case.get("place") == "directory":
        path.mkdir()
    elif "place" not in case:
        path.write_bytes(content_of(case))
    return path


def told(case: dict[str, Any]) -> list[dict[str, str]]:
    return case.get("told") or [case]


def fields_of(category: str) -> set[str]:
    """Paths of the category's fields, without indices."""
    return {re.sub(r"\[\d+\]", "", entry["field"]) for case in TABLE[category] for entry in told(case)}


def parts_of(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of a SelfieRun by its path, with the JSON schemas of its fields."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema["$defs"]

    def below(part: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield path, part["properties"]
        for name, field in part["properties"].items():
            for entry in (field, field.get("items", {}), *field.get("anyOf", [])):
                if "$ref" in entry:
                    yield from below(
                        definitions[entry["$ref"].rpartition("/")[2]], f"{path}.{name}".strip(".")
                    )

    yield from below(schema, path)


def fields_with(*words: str) -> set[str]:
    """Paths of all fields of a SelfieRun whose schema, or one of whose alternatives, has one of the words."""
    return {
        f"{path}.{name}".strip(".")
        for path, fields in parts_of(SelfieRun)
        for name, field in fields.items()
        for entry in (field, *field.get("anyOf", []))
        if any(word in entry for word in words)
    }


def violations_in(content: bytes) -> tuple[Violation, ...]:
    with pytest.raises(InvalidRun) as caught:
        parse_run(content.decode())
    return caught.value.violations


def test_there_are_cases_of_every_category_and_each_has_a_name_of_its_own():
    names = [(category, case["name"]) for category, cases in TABLE.items() for case in cases]
    assert len(names) == len(set(names)) >= 45


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_is_one_line_with_its_field_and_the_remedy(case, tmp_path):
    result = CliRunner().invoke(app, ["validate", str(written(case, tmp_path))])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.splitlines()
    assert len(lines) == len(told(case)), result.stderr
    for line, entry in zip(lines, told(case), strict=True):
        assert re.match(rf"error: (line \d+: )?{re.escape(entry['field'])} ", line), line
        what, separator, remedy = line.partition("; ")
        assert separator, line
        assert entry["remedy"] in remedy, line
        assert entry.get("problem", "") in what, line


def test_the_good_run_that_the_cases_begin_with_is_good(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(GOOD)
    result = CliRunner().invoke(app, ["validate", str(path)])
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + GOOD, id="a byte order mark"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="lines that end as on Windows"),
        pytest.param(
            GOOD.replace("{dataset: seed.jsonl}", "&data {dataset: seed.jsonl}").replace(
                "{dataset: prompts.jsonl}", "*data"
            ),
            id="an alias",
        ),
        pytest.param(
            GOOD.replace("{dataset: prompts.jsonl}", "&p {dataset: a, count: 8}")
            + "  - prompts: {<<: *p, from: 8}\n",
            id="a merge",
        ),
    ],
)
def test_what_looks_odd_and_is_right_is_accepted(text, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(text.encode())
    result = CliRunner().invoke(app, ["validate", str(path)])
    assert (result.exit_code, result.stderr) == (0, "")


def test_of_very_many_mistakes_the_first_are_told_and_the_rest_are_counted(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(GOOD + "".join(f"  k{number}: 1\n" for number in range(150)))
    result = CliRunner().invoke(app, ["validate", str(path)])
    lines = result.stderr.splitlines()
    assert len(lines) == 101
    assert lines[-1] == "error: the file has 50 more mistakes; mend these first"


def test_every_number_of_a_run_is_among_the_bounds():
    numbers = fields_with("maximum", "x-selfie-bounds")
    assert numbers - fields_of("bounds") == set()


def test_every_choice_of_a_run_is_among_the_choices():
    assert fields_with("enum") - fields_of("choices") == set()


def test_every_part_of_a_run_is_among_those_with_an_unknown_field():
    parts = {path for path, _ in parts_of(SelfieRun)}
    # One kind of part stands in several places; one of them is enough.
    same = {"spec.artifacts.secretRef", "spec.referenceModel.secretRef", "spec.evaluation.prompts"}
    components = {f"spec.resources.{name}" for name in ("engine", "generation", "scoring", "filtering")}
    known = {path.rpartition(".")[0] for path in fields_of("unknown")}
    assert parts - known - same - components == set()


def test_every_rule_on_combinations_is_hit():
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(combinations)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Violation"
    ]
    assert calls
    problems = [
        violation.problem for case in TABLE["combinations"] for violation in violations_in(content_of(case))
    ]
    for call in calls:
        words = [part.value for part in ast.walk(call.args[1]) if isinstance(part, ast.Constant)]
        longest = max((word for word in words if isinstance(word, str)), key=len)
        assert any(longest in problem for problem in problems), longest
