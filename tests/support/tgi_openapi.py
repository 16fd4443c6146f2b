"""TGI's OpenAPI description, mended where the server is otherwise than it says.

Each patch has its reason; the description itself is no part of this repository.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

DESCRIPTION = Path(__file__).resolve().parents[3] / "shared" / "tgi" / "openapi.json"
ROUTES = ("/generate", "/tokenize", "/info", "/health", "/v1/models")

# Of the server that is checked: more than any input that is made up for it.
MAX_INPUT_TOKENS, MAX_TOTAL_TOKENS = 100_000, 100_500


@dataclass(frozen=True)
class Patch:
    """A change to the description, and why the server makes it necessary."""

    reason: str
    apply: Callable[[Json], None]


def patched_description() -> Json:
    """The description of the routes that are stood in for, as the server really keeps it."""
    description = json.loads(DESCRIPTION.read_text())
    for patch in PATCHES:
        patch.apply(description)
    return description


def _parameters(description: Json) -> Json:
    return description["components"]["schemas"]["GenerateParameters"]["properties"]


def _schemas(node: Any) -> Iterator[Json]:
    """Every object below a node."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _schemas(child)


def _keep_routes(description: Json) -> None:
    description["paths"] = {route: description["paths"][route] for route in ROUTES}


def _exclusive_minima(description: Json) -> None:
    for schema in _schemas(description):
        bound = schema.get("exclusiveMinimum")
        if isinstance(bound, int) and not isinstance(bound, bool):
            schema |= {"minimum": bound, "exclusiveMinimum": True}


def _no_defaults_and_examples(description: Json) -> None:
    for schema in _schemas(description["components"]["schemas"]):
        if isinstance(schema.get("type"), str):
            schema.pop("default", None)
            schema.pop("example", None)
    _parameters(description)["grammar"].pop("default")


def _open_nucleus(description: Json) -> None:
    for name in ("top_p", "typical_p"):
        _parameters(description)[name]["exclusiveMaximum"] = True


def _new_tokens(description: Json) -> None:
    _parameters(description)["max_new_tokens"] |= {
        "minimum": 1,
        "maximum": MAX_TOTAL_TOKENS - MAX_INPUT_TOKENS,
    }


def _limits_of_the_launcher(description: Json) -> None:
    parameters = _parameters(description)
    parameters["top_n_tokens"] |= {"minimum": 0, "exclusiveMinimum": False, "maximum": 5}
    parameters["truncate"] |= {"minimum": 1, "maximum": MAX_INPUT_TOKENS}


def _one_best(description: Json) -> None:
    _parameters(description)["best_of"] |= {"maximum": 1}


def _some_inputs(description: Json) -> None:
    request = description["components"]["schemas"]["GenerateRequest"]
    request["properties"]["inputs"] |= {"minLength": 1}


def _widths(description: Json) -> None:
    parameters = _parameters(description)
    parameters["seed"] |= {"exclusiveMinimum": False, "maximum": 2**64 - 1}
    parameters["seed"].pop("format")
    parameters["top_k"]["maximum"] = 2**31 - 1
    parameters["frequency_penalty"] |= {"minimum": -2, "exclusiveMinimum": False, "maximum": 2}
    for name in ("temperature", "repetition_penalty"):
        parameters[name]["maximum"] = 3e38


def _grammars(description: Json) -> None:
    fields = {"properties": {"type": "object"}}
    fields = {"properties": {"type": "object"}}
    with_properties = {"type": "object", "required": ["properties"], "properties": fields}
    kinds = description["components"]["schemas"]["GrammarType"]["oneOf"]
    kinds[0]["properties"]["value"] = with_properties
    kinds[2]["properties"]["value"] = {
        "type": "object",
        "required": ["schema"],
        "properties": {"schema": with_properties},
    }


def _errors(description: Json) -> None:
    told = {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}
    plain = {"schema": {"type": "string"}}
    for route in ("/generate", "/tokenize"):
        responses = description["paths"][route]["post"]["responses"]
        responses["401"] = {"description": "no key, or a wrong one"}
        for status in ("400", "413", "415"):
            responses[status] = {"description": "no JSON, or too much", "content": {"text/plain": plain}}
        content = {"application/json": told, "text/plain": plain}
        responses["422"] = {"description": "not what is expected", "content": content}
    description["paths"]["/tokenize"]["post"]["responses"].pop("404")


def _tokenized(description: Json) -> None:
    schema = {"type": "object", "required": ["inputs"], "properties": {"inputs": {"type": "string"}}}
    description["components"]["schemas"]["TokenizeRequest"] = schema
    body = description["paths"]["/tokenize"]["post"]["requestBody"]["content"]["application/json"]
    body["schema"] = {"$ref": "#/components/schemas/TokenizeRequest"}


def _list_of_models(description: Json) -> None:
    content = description["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]
    card = content["schema"]
    models = {"type": "array", "items": card}
    content["schema"] = {"type": "object", "required": ["data"], "properties": {"data": models}}


PATCHES = (
    Patch("Selfie asks only these routes, and no others are stood in for", _keep_routes),
    Patch("a numeric exclusiveMinimum is OpenAPI 3.1, and the file says 3.0.3", _exclusive_minima),
    Patch(
        "defaults and examples are words such as 'null' on numbers, and some defaults are others",
        _no_defaults_and_examples,
    ),
    Patch("the server refuses a top_p and a typical_p of 1.0", _open_nucleus),
    Patch("0 new tokens are refused, and inputs and new tokens together have a limit", _new_tokens),
    Patch("these maxima are flags of the launcher", _limits_of_the_launcher),
    Patch("more than one best needs sampling and forbids a seed, which a schema can't say", _one_best),
    Patch("empty inputs are refused", _some_inputs),
    Patch("integers are read as u64 and i32, penalties within [-2, 2], and floats in 32 bits", _widths),
    Patch("a JSON grammar without properties is refused", _grammars),
    Patch("these answers are not in the file, and /tokenize answers errors as the other routes do", _errors),
    Patch("/tokenize looks at the inputs alone, and takes empty ones", _tokenized),
    Patch("the models are wrapped in a list", _list_of_models),
)
