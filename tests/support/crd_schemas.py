"""The schema that an API server has of a SelfieRun, and the one that its typed model implies."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

CRD_FILE = Path(__file__).parents[2] / "charts/selfie/files/selfieruns.selfie.dev.yaml"

_NO_STRUCTURE = {"description", "x-kubernetes-validations", "x-selfie-bounds", "x-selfie-keys"}
_LARGEST_EXACT = 2**53


@cache
def crd() -> dict[str, Any]:
    """The CustomResourceDefinition as it stands in the chart."""
    return yaml.safe_load(CRD_FILE.read_text())


def schema_of(part: str) -> dict[str, Any]:
    """Schema of ``spec`` or ``status`` in the CRD."""
    [version] = crd()["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"][part]


def implied_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What the model's own JSON schema comes to where there are no references, unions and nulls.

    Defaults of nested models are left out, since a cluster derives them from the fields' own.
    """
    schema = model.model_json_schema(by_alias=True)
    return _plain(schema, schema.get("$defs", {}))


def structure(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without words and rules, and without defaults that are empty objects or lists."""
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NO_STRUCTURE or key.startswith(("x-kubernetes-list", "x-kubernetes-map")):
            continue
        if key == "properties":
            kept[key] = {name: structure(entry) for name, entry in value.items()}
        elif key in {"items", "additionalProperties"}:
            kept[key] = structure(value)
        elif not (key == "default" and value in ({}, [])):
            kept[key] = value
    return kept


def fields_of(schema: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    """Every field below ``path`` with its schema, by path; ``[]`` stands for the items of a list."""
    found: dict[str, dict[str, Any]] = {}
    for name, entry in schema.get("properties", {}).items():
        found[f"{path}.{name}"] = entry
        found.update(fields_of(entry, f"{path}.{name}"))
    if "items" in schema:
        found[f"{path}[]"] = schema["items"]
        found.update(fields_of(schema["items"], f"{path}[]"))
    return found


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """The value as an API server completes it (structural schemas' defaulting)."""
    if isinstance(value, list):
        return [with_defaults(schema.get("items", {}), entry) for entry in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    absent = {
        name: entry["default"]
        for name, entry in properties.items()
        if name not in value and "default" in entry
    }
    return {name: with_defaults(properties.get(name, {}), entry) for name, entry in (value | absent).items()}


def _plain(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _one_of(schema, definitions)
    kept = {
        key: value
        for key, value in schema.items()
        if key not in {"title", "$defs", "properties", "items", "additionalProperties", "patternProperties"}
        and not (key == "default" and value in (None, [], {}))
    }
    if isinstance(kept.get("maximum"), int) and kept["maximum"] > _LARGEST_EXACT:
        # JSON schema's numbers are floats; such a field is bounded by its format.
        del kept["maximum"]
        kept["format"] = "int64"
    if "properties" in schema:
        kept["properties"] = {key: _plain(value, definitions) for key, value in schema["properties"].items()}
    if "items" in schema:
        kept["items"] = _plain(schema["items"], definitions)
    if isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = _plain(schema["additionalProperties"], definitions)
    for pattern, entry in schema.get("patternProperties", {}).items():
        # A structural schema has no word for the form of a key.
        kept["additionalProperties"] = _plain(entry, definitions)
        kept["x-selfie-keys"] = pattern, kept.pop("propertyNames")["maxLength"]
    return kept


def _one_of(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        [only] = [entry for entry in schema["anyOf"] if entry.get("type") != "null"]
        schema = only | {key: value for key, value in schema.items() if key != "anyOf"}
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        schema = target | {key: value for key, value in schema.items() if key != "$ref"}
        return _one_of(schema, definitions)
    return schema
