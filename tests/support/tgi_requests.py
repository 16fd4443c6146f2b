"""What TGI 3.3.7 makes of a request before it generates: types of its JSON, rules of its validation."""

import json
from typing import Any

from aiohttp import web

PAYLOAD_LIMIT = 2_000_000

CHUNK = 1024

_KINDS: dict[str, Any] = {
    "adapter_id": str,
    "best_of": "count",
    "decoder_input_details": bool,
    "details": bool,
    "do_sample": bool,
    "frequency_penalty": float,
    "max_new_tokens": "u32",
    "repetition_penalty": float,
    "return_full_text": bool,
    "seed": "u64",
    "stop": list,
    "temperature": float,
    "top_k": "i32",
    "top_n_tokens": "u32",
    "top_p": float,
    "truncate": "count",
    "typical_p": float,
    "watermark": bool,
}

_NEVER_NULL = {"decoder_input_details", "details", "do_sample", "stop", "watermark"}

_RANGES = {
    "count": (0, 2**64 - 1),
    "u64": (0, 2**64 - 1),
    "u32": (0, 2**32 - 1),
    "i32": (-(2**31), 2**31 - 1),
}


class Refused(Exception):
    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def error(status: int, message: str, kind: str) -> web.Response:
    return web.json_response({"error": message, "error_type": kind}, status=status)


def _plain(status: int, message: str) -> Refused:
    return Refused(web.Response(status=status, text=message))


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Refused(error(422, f"Input validation error: {message}", "validation"))


async def read(request: web.Request) -> tuple[str, dict[str, Any] | None]:
    """The body as its JSON layer reads it: what does not fit is told in plain text."""
    if request.content_type != "application/json":
        raise _plain(415, "Expected request with `Content-Type: application/json`")
    raw = await request.read()
    if len(raw) > PAYLOAD_LIMIT:
        raise _plain(413, "Failed to buffer the request body: length limit exceeded")
    try:
        body = json.loads(raw, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise _plain(400, f"Failed to parse the request body as JSON: {error}") from error
    problem = _problem(body)
    if problem is not None:
        raise _plain(422, f"Failed to deserialize the JSON body into the target type: {problem}")
    return body["inputs"], body.get("parameters")


def _not_json(name: str) -> float:
    raise ValueError(f"expected value, found {name}")


def _problem(body: Any) -> str | None:
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), str):
        return "inputs: expected a string"
    if "parameters" not in body:
        return None
    if not isinstance(body["parameters"], dict):
        return "parameters: invalid type, expected struct GenerateParameters"
    for name, value in body["parameters"].items():
        if name == "grammar" and not _is_grammar(value):
            return "parameters.grammar: invalid"
        if name in _KINDS and not _fits(_KINDS[name], value, optional=name not in _NEVER_NULL):
            return f"parameters.{name}: invalid type"
    return None


def _fits(kind: Any, value: Any, *, optional: bool) -> bool:
    if value is None:
        return optional
    if kind in _RANGES:
        low, high = _RANGES[kind]
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is list:
        return isinstance(value, list) and all(isinstance(part, str) for part in value)
    return isinstance(value, kind)


def _is_grammar(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or "value" not in value:
        return False
    kind, inner = value.get("type"), value["value"]
    if kind == "json_schema":
        return isinstance(inner, dict) and "schema" in inner
    return kind == "json" or (kind == "regex" and isinstance(inner, str))


def check(inputs: str, given: dict[str, Any], *, max_input_tokens: int) -> None:
    """The rules of its validation, in their order."""
    best_of = given.get("best_of") or 1
    require(best_of <= 2, f"`best_of` must be > 0 and <= 2. Given: {best_of}")
    require(best_of == 1 or is_sampled(given), "you must use sampling when `best_of` is > 1")
    require(_within(given, "temperature", above=0), "`temperature` must be strictly positive")
    require(_within(given, "repetition_penalty", above=0), "`repetition_penalty` must be strictly positive")
    require(-2 <= (given.get("frequency_penalty") or 0) <= 2, "`frequency_penalty` must be in [-2, 2]")
    for name in ("top_p", "typical_p"):
        require(_within(given, name, above=0, below=1), f"`{name}` must be > 0.0 and < 1.0")
    require(_within(given, "top_k", above=0), "`top_k` must be strictly positive")
    require(given.get("max_new_tokens") != 0, "`max_new_tokens` must be strictly positive")
    require(len(given.get("stop") or ()) <= 4, "`stop` supports up to 4 stop sequences")
    require(best_of == 1 or given.get("seed") is None, "`seed` must not be set when `best_of` > 1")
    require((given.get("top_n_tokens") or 0) <= 5, "`top_n_tokens` must be >= 0 and <= 5")
    require(inputs != "", "`inputs` cannot be empty")
    truncate = given.get("truncate")
    require(
        truncate is None or 0 < truncate <= max_input_tokens,
        f"`truncate` must be strictly positive and less than {max_input_tokens}",
    )
    _check_grammar(given.get("grammar"))


def is_sampled(given: dict[str, Any]) -> bool:
    """Whether these parameters draw responses, rather than take the likeliest token each time."""
    drawing = ("temperature", "top_k", "top_p", "typical_p")
    return bool(given.get("do_sample")) or any(given.get(name) is not None for name in drawing)


def _check_grammar(grammar: Any) -> None:
    if grammar is None or grammar["type"] == "regex":
        return
    value = grammar["value"]["schema"] if grammar["type"] == "json_schema" else grammar["value"]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    require(isinstance(value, dict) and "properties" in value, "Grammar must have a 'properties' field")


def _within(given: dict[str, Any], name: str, *, above: float, below: float | None = None) -> bool:
    value = given.get(name)
    return value is None or (value > above and (below is None or value < below))
