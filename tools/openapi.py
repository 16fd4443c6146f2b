"""Writes the description of the scorer's HTTP API from its protos, or checks the one that is committed.

    python tools/openapi.py generate     write services/selfie/scoring/openapi.json
    python tools/openapi.py check        fail when it is not that of the committed protos

Paths are those of the Connect protocol, names those of protobuf's JSON, bounds those of protovalidate,
and descriptions the comments of the protos.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, ServiceDescriptor

from protos import ROOT, compile_protos

sys.path.insert(0, str(ROOT / "services"))

import selfie
from buf.validate import validate_pb2
from selfie.v1 import scoring_pb2

Json = dict[str, Any]

TARGET = ROOT / "services/selfie/scoring/openapi.json"
SERVICES = (
    scoring_pb2.DESCRIPTOR.services_by_name["ScoringService"],
    operations_pb2.DESCRIPTOR.services_by_name["Operations"],
)
UNSERVED = {"ListOperations", "DeleteOperation"}
BEARER = {"type": "http", "scheme": "bearer", "description": "Where the service asks who calls."}
ERROR = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "description": "A code of gRPC in lower case: invalid_argument, …"},
        "message": {"type": "string", "description": "What is wrong, by field, and what to do."},
        "details": {"type": "array", "items": {"type": "object"}},
    },
}
INTEGERS = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}
WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
    "google.protobuf.Duration": {"type": "string", "examples": ["1.5s"]},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Empty": {"type": "object"},
}
BOUNDS = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}
SIZES = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "min_items": "minItems",
    "max_items": "maxItems",
    "pattern": "pattern",
    "in": "enum",
}


class Description:
    """The OpenAPI document while it grows: schemas are added as methods need them."""

    def __init__(self, comments: dict[str, str]) -> None:
        self._comments = comments
        self._schemas: Json = {"Error": ERROR}

    def document(self) -> Json:
        """The whole of it."""
        paths = {
            f"/{service.full_name}/{method.name}": {"post": self._operation(service, method)}
            for service in SERVICES
            for method in service.methods
            if not method.server_streaming and method.name not in UNSERVED
        }
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Selfie's scorer",
                "version": selfie.__version__,
                "license": {"name": "Apache-2.0"},
            },
            "paths": {**paths, **_health_paths()},
            "security": [{}, {"bearer": []}],
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "securitySchemes": {"bearer": BEARER},
            },
        }

    def _operation(self, service: ServiceDescriptor, method: Any) -> Json:
        answered = {"description": "The answer.", "content": _content(self._schema(method.output_type))}
        refused = {"description": "Why not.", "content": _content({"$ref": "#/components/schemas/Error"})}
        return {
            "operationId": f"{service.name}.{method.name}",
            "tags": [service.name],
            **self._told(method.full_name),
            "requestBody": {"required": True, "content": _content(self._schema(method.input_type))},
            "responses": {"200": answered, "default": refused},
        }

    def _schema(self, message: Descriptor) -> Json:
        """A reference to the message's schema, which is made when it is first asked for."""
        if message.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[message.full_name])
        if message.full_name not in self._schemas:
            self._schemas[message.full_name] = {}
            properties = {field.json_name: self._field(field) for field in message.fields}
            required = [field.json_name for field in message.fields if _rules(field).required]
            schema: Json = {"type": "object", "properties": properties, **self._told(message.full_name)}
            schema |= {"required": required} if required else {}
            if told := _conditions(message):
                schema["description"] = " ".join(filter(None, (schema.get("description"), told)))
            self._schemas[message.full_name] = schema
        return {"$ref": f"#/components/schemas/{message.full_name}"}

    def _field(self, field: FieldDescriptor) -> Json:
        rules = _rules(field)
        told = self._told(field.full_name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = self._value(field.message_type.fields_by_name["value"], rules)
            return {"type": "object", "additionalProperties": values, **told}
        if not field.is_repeated:
            return {**self._value(field, rules), **told}
        items = self._value(field, rules.repeated.items)
        return {"type": "array", "items": items, **_bounds(rules.repeated), **told}

    def _value(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Json:
        if field.message_type is not None:
            return self._schema(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return {**_scalar(field), **_bounds(getattr(rules, rules.WhichOneof("type") or "string"))}

    def _enum(self, enum: EnumDescriptor) -> Json:
        around = enum.full_name.rpartition(".")[0]
        names = [value.name for value in enum.values]
        told = {
            name: self._comments[f"{around}.{name}"] for name in names if f"{around}.{name}" in self._comments
        }
        lines = [f"{name}: {text}" for name, text in told.items()]
        found = "\n\n".join(filter(None, (self._comments.get(enum.full_name), *lines)))
        return {"type": "string", "enum": names, **({"description": found} if found else {})}

    def _told(self, name: str) -> Json:
        return {"description": self._comments[name]} if name in self._comments else {}


def _scalar(field: FieldDescriptor) -> Json:
    kind = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return {"type": "integer", "minimum": low, "maximum": high}
    if kind.endswith("64"):
        return {"type": ["string", "integer"], "format": kind}
    if kind in ("double", "float"):
        return {"type": "number", "format": kind}
    return {"type": "boolean"} if kind == "bool" else {"type": "string"}


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def _bounds(rules: Any) -> Json:
    """What JSON Schema can say of a field's rules."""
    found: Json = {}
    for option, value in rules.ListFields():
        if name := {**BOUNDS, **SIZES}.get(option.name):
            found[name] = list(value) if option.is_repeated else value
        elif option.name == "uuid":
            found["format"] = "uuid"
    return found


def _conditions(message: Descriptor) -> str:
    """What is demanded of several fields together, in words."""
    rules: validate_pb2.MessageRules = message.GetOptions().Extensions[validate_pb2.message]
    return " ".join(f"{rule.message[:1].upper()}{rule.message[1:]}." for rule in rules.cel)


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _health_paths() -> Json:
    def told(name: str, summary: str) -> Json:
        responses = {"200": {"description": summary}, "503": {"description": "Not yet, or no more."}}
        return {"get": {"operationId": name, "summary": summary, "security": [], "responses": responses}}

    return {
        "/healthz": told("healthz", "The process is alive."),
        "/readyz": told("readyz", "It takes calls."),
    }


def _comments() -> dict[str, str]:
    """Comments before each declaration of ours, by its full name."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "image.binpb")
        compile_protos("--include_source_info", f"--descriptor_set_out={image}")
        files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return {
        name: " ".join(location.leading_comments.split())
        for file in files
        for location in file.source_code_info.location
        if location.leading_comments
        for name in _named(file, list(location.path))
    }


def _named(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> Iterator[str]:
    """Full name of what a path leads to; an enum's values belong to what is around the enum."""
    found: Any = file
    names = [file.package]
    while path:
        field = found.DESCRIPTOR.fields_by_number[path[0]]
        if len(path) < 2 or not field.is_repeated or field.message_type is None:
            return
        parent, found = found, getattr(found, field.name)[path[1]]
        if isinstance(parent, descriptor_pb2.EnumDescriptorProto):
            names.pop()
        names.append(found.name)
        path = path[2:]
    yield ".".join(names)


def generated() -> str:
    """The document as text."""
    return json.dumps(Description(_comments()).document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["generate"]:
            TARGET.write_text(generated())
        case ["check"]:
            if not TARGET.exists() or TARGET.read_text() != generated():
                sys.exit("stale description of the API, run `make proto`")
        case _:
            sys.exit(__doc__)
