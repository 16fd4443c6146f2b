"""The CRD and the typed model say the same, in both directions."""

import json
import re
from typing import get_args

import pytest
from pydantic import BaseModel

from crd_schemas import CRD_FILE, crd, fields_of, implied_schema, schema_of, structure, with_defaults
from selfie.runs.conditions import ConditionType
from selfie.runs.load import object_of, run_from_object
from selfie.runs.spec import MethodFields, RunSpec
from selfie.runs.status import RunStatus, object_of_status, status_from_object

MODELS: dict[str, type[BaseModel]] = {"spec": RunSpec, "status": RunStatus}

IN_CRD = {p: f for part in MODELS for p, f in fields_of(schema_of(part), part).items()}
IN_MODEL = {p: f for part, model in MODELS.items() for p, f in fields_of(implied_schema(model), part).items()}


def rules_of(schema: dict) -> list[dict]:
    return schema.get("x-kubernetes-validations", [])


def test_a_cluster_knows_the_fields_of_the_typed_model_and_no_others():
    assert sorted(IN_CRD) == sorted(IN_MODEL)


def test_each_field_has_the_same_type_bounds_choices_and_default():
    in_crd, in_model = (
        {path: structure({**field, "properties": {}, "items": {}}) for path, field in fields.items()}
        for fields in (IN_CRD, IN_MODEL)
    )
    # Others may set conditions of their own, which the operator leaves as they are.
    ours = in_model.pop("status.conditions[].type").pop("enum")
    assert set(ours) == set(get_args(ConditionType))
    assert "enum" not in in_crd.pop("status.conditions[].type")
    assert in_crd == in_model


@pytest.mark.parametrize("part", MODELS)
def test_each_part_needs_the_same_fields(part: str):
    assert schema_of(part).get("required") == implied_schema(MODELS[part]).get("required")


def test_each_decimal_has_the_same_bounds():
    def rule(words: str) -> dict[str, str]:
        kind, low, _, high = words.split()
        sign = ">" if kind == "above" else ">="
        return {
            "rule": f"double(self) {sign} {float(low)} && double(self) <= {float(high)}",
            "message": f"is out of range; write a number {words}",
        }

    found = {
        path: [entry for entry in rules_of(field) if entry["rule"].startswith("double(self)")]
        for path, field in IN_CRD.items()
    }
    assert {path: rules for path, rules in found.items() if rules} == {
        path: [rule(field["x-selfie-bounds"])]
        for path, field in IN_MODEL.items()
        if "x-selfie-bounds" in field
    }


def test_the_keys_of_each_map_have_the_same_form():
    found = {
        path: entry["rule"]
        for path, field in IN_CRD.items()
        for entry in rules_of(field)
        if entry["rule"].startswith("self.all(key")
    }
    forms = {p: field["x-selfie-keys"] for p, field in IN_MODEL.items() if "x-selfie-keys" in field}
    assert found == {
        path: f"self.all(key, size(key) <= {most} && key.matches('{pattern}'))"
        for path, (pattern, most) in forms.items()
    }


def test_each_field_is_described_in_the_models_words_with_bounds_and_default():
    def description(path: str, field: dict) -> str:
        words = field.get("description", "").removesuffix(".")
        return f"{words}.{told(field) if path.startswith('spec') and not path.endswith('[]') else ''}"

    assert {path: field.get("description", ".") for path, field in IN_CRD.items()} == {
        path: description(path, field) for path, field in IN_MODEL.items()
    }
    assert not [path for path, field in IN_CRD.items() if path[-1] != "]" and not field.get("description")]


def told(schema: dict) -> str:
    """Bounds and default in words, since `kubectl explain` shows neither."""
    facts = [*bounds_in_words(schema)]
    default = schema.get("default")
    if default is not None and not isinstance(default, list | dict):
        quoted = not isinstance(default, str) or "x-selfie-bounds" in schema
        facts.append(f"default {json.dumps(default) if quoted else default}")
    text = "; ".join(facts)
    return f" {text[0].upper()}{text[1:]}." if text else ""


def bounds_in_words(schema: dict) -> list[str]:
    words: list[str] = []
    match schema:
        case {"type": "integer", "minimum": low, "maximum": 2147483647}:
            words = [f"at least {low}"]
        case {"type": "integer", "minimum": low, "maximum": high}:
            words = [f"from {low} to {high}"]
        case {"x-selfie-bounds": bounds}:
            words = [f"a decimal in quotes, {bounds}"]
        case {"type": "string", "maxLength": most}:
            words = [f"at most {most} characters"]
        case {"type": "array", "maxItems": most}:
            words = [f"{schema.get('minItems', 0)} to {most} entries"]
        case {"type": "object", "maxProperties": most}:
            words = [f"at most {most} entries"]
    return words


RUN = {
    "apiVersion": "selfie.dev/v1alpha1",
    "kind": "SelfieRun",
    "metadata": {"name": "toy"},
    "spec": {
        "model": {"uri": "hf://org/model"},
        "seed": {"dataset": "seed.jsonl"},
        "rounds": [{"prompts": {"dataset": "prompts.jsonl"}}],
    },
}
EVERY_OPTIONAL_PART = {
    "referenceModel": {"uri": "hf://org/base", "secretRef": {"name": "hub"}},
    "training": {"lora": {}},
    "evaluation": {"prompts": {"dataset": "e.jsonl"}, "gates": {"maxDivergence": "1"}},
    "artifacts": {"uri": "s3://bucket/runs", "secretRef": {"name": "s3"}},
    "resources": {"training": {"cpu": "4"}},
    "placement": {"tolerations": [{"key": "gpu"}], "nodeSelector": {"gpu": "yes"}},
    "deadlines": {"runSeconds": 60},
}


@pytest.mark.parametrize("more", [{}, EVERY_OPTIONAL_PART], ids=["least", "every part"])
def test_a_cluster_completes_a_run_as_the_typed_model_does(more: dict):
    given = {**RUN, "spec": RUN["spec"] | more}
    completed = with_defaults(schema_of("spec"), given["spec"])
    assert completed == object_of(run_from_object(given))["spec"]


def test_a_cluster_completes_a_status_as_the_typed_model_does():
    given = {
        "conditions": [
            {
                "type": "Failed",
                "status": "True",
                "reason": "StepFailed",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
        "failures": {"count": 1, "attempt": 1, "lastFailureTime": "2026-01-01T00:00:00Z"},
        "rounds": [{"round": 1, "checkpoint": {"step": "rounds/01/publish", "digest": "d"}}],
        "best": {"round": 1, "step": "rounds/01/publish", "digest": "d", "accuracy": 0.5},
    }
    completed = with_defaults(schema_of("status"), given)
    assert completed == object_of_status(status_from_object(given))


def test_the_two_parts_of_a_specification_have_no_name_in_common_with_kubernetes_own_fields():
    assert not {"template", "podTemplate", "serviceAccountName"} & set(schema_of("spec")["properties"])


def test_each_field_of_the_method_has_the_rule_that_it_cannot_change():
    names = {field.alias for field in MethodFields.model_fields.values()}
    fixed = {
        name
        for name, schema in schema_of("spec")["properties"].items()
        if any("oldSelf" in rule["rule"] for rule in rules_of(schema))
    }
    assert fixed == names


def test_each_field_of_the_method_that_may_be_absent_cannot_be_given_or_taken_away_later():
    properties = schema_of("spec")["properties"]
    required = set(schema_of("spec")["required"])
    may_be_absent = {
        field.alias
        for field in MethodFields.model_fields.values()
        if field.alias not in required and "default" not in properties[field.alias]
    }
    kept = {
        rule["fieldPath"].removeprefix(".")
        for rule in rules_of(schema_of("spec"))
        if "oldSelf" in rule["rule"]
    }
    assert kept == may_be_absent


def test_nothing_unknown_is_kept():
    assert "preserve-unknown-fields" not in CRD_FILE.read_text()
    assert "embedded-resource" not in CRD_FILE.read_text()


def test_every_rule_tells_what_to_do():
    rules = [rule for schema in (*IN_CRD.values(), schema_of("spec")) for rule in rules_of(schema)]
    assert not [rule["rule"] for rule in rules if ";" not in rule.get("message", "")]


def test_no_name_is_a_truth_value_to_kubectl():
    # Its YAML is that of 2005, which takes a plain `n` for false.
    lines = CRD_FILE.read_text().splitlines()
    assert not [line for line in lines if re.match(r"\s*(y|n|yes|no|on|off):", line, re.IGNORECASE)]


def test_the_file_is_small():
    assert len(CRD_FILE.read_bytes()) <= 64 * 1024


def test_the_first_column_is_the_status_in_one_word():
    [version] = crd()["spec"]["versions"]
    shown = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["Status", "Round", "Stage", "Progress", "Accuracy", "Age"]


def test_users_find_a_run_by_its_short_name_and_by_selfie():
    names = crd()["spec"]["names"]
    assert (names["shortNames"], names["categories"]) == (["sfr"], ["selfie"])
