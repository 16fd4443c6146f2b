"""Turns pydantic's findings into mistakes that a person can mend: where, what, and what to write."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from selfie.runs import decimals
from selfie.runs.documents import WRITE_A_RUN
from selfie.runs.locations import Location, location_of, path_of
from selfie.runs.sources import VISIBLE
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import Violation

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_FORMS = {
    VISIBLE: "it without blanks",
    r"^[a-z]([a-z0-9-]*[a-z0-9])?$": "lower-case letters, digits and -, beginning with a letter and not "
    "ending with -",
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$": "lower-case letters, digits and -, not beginning or ending with -",
    r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$": "lower-case letters, digits, - and ., not beginning or ending with "
    "- or .",
    r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$": "letters, digits, -, _ and ., beginning and "
    "ending with a letter or digit",
    r"^[0-9]+(\.[0-9]{1,3}|m)?$": 'cores such as "4", "1.5" or "500m"',
    r"^[0-9]+(\.[0-9]{1,3})?([KMGT]i|[kMGT])?$": 'bytes such as "16Gi" or "500M"',
}
"""Patterns of text fields in words; any other is told as it is."""


def violations_of(
    errors: Sequence[ErrorDetails], *, written: Mapping[Location, str] | None = None
) -> list[tuple[Location, Violation]]:
    """Mistakes in the order in which pydantic found them, and where each one is.

    ``written`` gives, by location, how a value was written where that is known: ``5e-7`` rather
    than 5e-07.
    """
    found: list[tuple[Location, Violation]] = []
    for error in errors:
        if not _follows_from_another(error, errors):
            text = (written or {}).get(error["loc"], _shown(error["input"]))
            found.extend(_explain(error, text))
    return found


def _follows_from_another(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    location, kind = error["loc"], error["type"]
    depth = len(location)
    if kind == "too_short":
        # Pydantic counts only the valid items of a list, so one bad item also makes the list too short.
        return any(len(other["loc"]) > depth and other["loc"][:depth] == location for other in errors)
    # A field whose name is misspelled is missing as well.
    return kind == "missing" and any(
        other["type"] == "extra_forbidden"
        and other["loc"][:-1] == location[:-1]
        and _nearest_sibling(other["loc"]) == location[-1]
        for other in errors
    )


def _explain(error: ErrorDetails, written: str) -> Iterator[tuple[Location, Violation]]:
    if error["type"] == "impossible":
        for violation in error.get("ctx", {})["violations"]:
            yield location_of(violation.field), violation
    else:
        yield error["loc"], Violation(path_of(error["loc"]), *_problem_and_remedy(error, written))


def _problem_and_remedy(error: ErrorDetails, written: str) -> tuple[str, str]:
    kind, location, value, context = error["type"], error["loc"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "is not a field of a SelfieRun", _nearest_field(location)
    if kind == "missing":
        return "is missing", _how_to_give(location)
    if kind == "literal_error":
        return f"cannot be {written}", _nearest_choice(value, context["expected"])
    if kind in _WANTED:
        return _wrong_type(kind, value, written), _right_type(location, kind, value, written)
    return _wrong_value(kind, context, error["msg"], written)


def _how_to_give(location: Location) -> str:
    field = _field_at(location)
    choices = get_args(field.annotation) if field else ()
    single = len(choices) == 1 and isinstance(choices[0], str)
    return f"write {location[-1]}: {choices[0]}" if single else "give it"


def _wrong_type(kind: str, value: object, written: str) -> str:
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"is the number {written}, and text is wanted"
    return f"is {written}, and {_WANTED[kind]} is wanted"


def _right_type(location: Location, kind: str, value: object, written: str) -> str:
    if not location:
        return WRITE_A_RUN
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'write it in quotes: "{written}"'
    if kind in {"int_type", "bool_type"} and isinstance(value, str):
        return f"write {_WANTED[kind]} without quotes"
    if value is not None:
        return f"write {_WANTED[kind]}"
    field = _field_at(location)
    optional = field is not None and not field.is_required()
    return "give it a value, or take the line out" if optional else "give it a value"


def _wrong_value(kind: str, context: Mapping[str, Any], message: str, written: str) -> tuple[str, str]:
    if kind == "uri":
        return message, context["remedy"]
    if kind == "string_unicode":
        return "holds half of a character", "write the character itself in place of its \\u codes"
    return _out_of_bounds(kind, context, message, written)


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
    if context.get("pattern") in _FORMS:
        return f"is {written}", f"write {_FORMS[context['pattern']]}"
    counted = {"too_short": "has too few entries", "too_long": "has too many entries"}
    remedy = remedies[kind].format(**context).replace(" 1 characters", " 1 character")
    return counted.get(kind, f"is {written}"), remedy


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


def _nearest_sibling(location: Location) -> str | None:
    by_lower = {name.lower(): name for name in _fields_at(location[:-1])}
    near = difflib.get_close_matches(str(location[-1]).replace("_", "").lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def _nearest_field(location: Location) -> str:
    sibling = _nearest_sibling(location)
    if sibling:
        return f"did you mean {sibling}?"
    elsewhere = [path for path in _all_paths(SelfieRun, "") if path.rpartition(".")[2] == location[-1]]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    siblings = ", ".join(_fields_at(location[:-1]))
    return f"take it out; there are {siblings}" if siblings else "take it out"


def _field_at(location: Location) -> FieldInfo | None:
    return _fields_at(location[:-1]).get(str(location[-1]))


def _fields_at(location: Location) -> dict[str, FieldInfo]:
    """The fields of the part of a SelfieRun that is there, by their names in a file."""
    model: type[BaseModel] | None = SelfieRun
    for part in location:
        if model is None or isinstance(part, int):
            continue
        below = [field for field in model.model_fields.values() if field.alias == part]
        model = _nested(below[0].annotation) if below else None
    return {str(field.alias): field for field in model.model_fields.values()} if model else {}


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
