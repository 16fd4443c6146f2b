"""Turns pydantic's findings into mistakes that a person can mend: where, what, and what to write."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from selfie.runs import decimals
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import Violation

Location: TypeAlias = tuple[str | int, ...]

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def violations_of(
    errors: Sequence[ErrorDetails], *, written: Mapping[Location, str] | None = None
) -> list[Violation]:
    """Mistakes in the order in which pydantic found them.

    ``written`` gives, by location, how a value was written where that is known: ``5e-7`` rather
    than 5e-07.
    """
    found: list[Violation] = []
    for error in errors:
        if not _follows_from_another(error, errors):
            text = (written or {}).get(error["loc"], _shown(error["input"]))
            found.extend(_explain(error, text))
    return found


def path_of(location: Location) -> str:
    """``spec.rounds[0].lambda``; the file itself for an empty location."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != "[key]")
    return "".join(parts).removeprefix(".") or "the file"


def _follows_from_another(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    # Pydantic counts only the valid items of a list, so one bad item also makes the list too short.
    depth = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == error["loc"] for other in errors
    )


def _explain(error: ErrorDetails, written: str) -> Iterator[Violation]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "impossible":
        yield from context["violations"]
        return
    path = path_of(error["loc"])
    if kind == "extra_forbidden":
        yield Violation(path, "is not a field of a SelfieRun", _nearest_field(error["loc"]))
    elif kind == "missing":
        yield Violation(path, "is missing", "give it")
    elif kind == "literal_error":
        yield Violation(path, f"cannot be {written}", _nearest_choice(error["input"], context["expected"]))
    elif kind in _WANTED:
        value = error["input"]
        yield Violation(path, _wrong_type(kind, value, written), _right_type(kind, value, written))
    elif kind == "uri":
        yield Violation(path, error["msg"], context["remedy"])
    else:
        yield Violation(path, *_out_of_bounds(kind, context, error["msg"], written))


def _wrong_type(kind: str, value: object, written: str) -> str:
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"is the number {written}, and text is wanted"
    return f"is {written}, and {_WANTED[kind]} is wanted"


def _right_type(kind: str, value: object, written: str) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'write it in quotes: "{written}"'
    if kind in {"int_type", "bool_type"} and isinstance(value, str):
        return f"write {_WANTED[kind]} without quotes"
    return "give it a value, or take the line out" if value is None else f"write {_WANTED[kind]}"


def _out_of_bounds(kind: str, context: Mapping[str, Any], message: str, written: str) -> tuple[str, str]:
    remedies = {
        "greater_than_equal": "write {ge} or more",
        "less_than_equal": "write {le} or less",
        "string_pattern_mismatch": "write text of the form {pattern}",
        "string_too_short": "write at least {min_length} characters",
        "string_too_long": "write at most {max_length} characters",
        "too_short": "give at least {min_length}",
        "too_long": "give at most {max_length}",
        "decimal_range": "write a decimal {bounds}",
    }
    if kind not in remedies:
        return f"is wrong: {message}", "see the description of the field"
    if context.get("pattern") == decimals.PATTERN:
        return f"is {written}, which is no decimal", 'write one such as "0.1" or "5e-7"'
    counted = {"too_short": "has too few entries", "too_long": "has too many entries"}
    return counted.get(kind, f"is {written}"), remedies[kind].format(**context)


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}…"'
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else str(value)


def _nearest_choice(value: object, expected: str) -> str:
    choices = [choice.strip("'") for choice in expected.replace(" or ", ", ").split(", ")]
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(value).lower(), by_lower, n=1)
    if near and len(choices) > 1:
        return f"did you mean {by_lower[near[0]]}? The choices are {', '.join(choices)}"
    return f"write {' or '.join(choices)}"


def _nearest_field(location: Location) -> str:
    name, parent = str(location[-1]), _model_at(location[:-1])
    siblings = [str(field.alias) for field in parent.model_fields.values()] if parent else []
    by_lower = {sibling.lower(): sibling for sibling in siblings}
    near = difflib.get_close_matches(name.replace("_", "").lower(), by_lower, n=1)
    if near:
        return f"did you mean {by_lower[near[0]]}?"
    elsewhere = [path for path in _all_paths(SelfieRun, "") if path.rpartition(".")[2] == name]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"take it out; there are {', '.join(siblings)}" if siblings else "take it out"


def _model_at(location: Location) -> type[BaseModel] | None:
    model: type[BaseModel] | None = SelfieRun
    for part in location:
        if model is None or isinstance(part, int):
            continue
        below = [field for field in model.model_fields.values() if field.alias == part]
        model = _nested(below[0].annotation) if below else None
    return model


def _nested(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _nested(inner))), None)


def _all_paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for field in model.model_fields.values():
        path = f"{prefix}.{field.alias}".removeprefix(".")
        yield path
        nested = _nested(field.annotation)
        if nested:
            yield from _all_paths(nested, f"{path}[]" if get_origin(field.annotation) is tuple else path)
