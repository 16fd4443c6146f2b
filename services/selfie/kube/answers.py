"""From an answer of the API server that is no success to the one error that it means.

Bodies are quoted short: a proxy's error page, or an object that a webhook quotes back, belongs
into no log and no status.
"""

import json
from collections.abc import Mapping
from typing import Any

from selfie.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Overloaded,
    PermissionDenied,
    SelfieError,
    Unavailable,
)
from selfie.kube.requests import Asked

LONGEST_QUOTE = 400
"""Characters of a server's words that an error repeats."""

CONFLICT = "Conflict"
EXPIRED = "Expired"

_RETRY_AFTER_S = 1.0
_LONGEST_RETRY_AFTER_S = 300.0


def failure_of(asked: Asked, code: int, headers: Mapping[str, str], body: bytes) -> SelfieError:
    """The error for an answer of HTTP ``code``, 400 or more."""
    status = status_of(body)
    message = f"{asked}: {code} {quoted(status.get('message') or body.decode(errors='replace'))}"
    after = _retry_after_s(headers, status)
    if code == 429 or (code == 503 and after is not None):
        return Overloaded(message, retry_after_s=after or _RETRY_AFTER_S)
    if code >= 500:
        return Unavailable(message)
    if code in {400, 413, 422}:
        return _invalid(asked, status, message)
    return _refused(code, str(status.get("reason", "")), message)


def _refused(code: int, reason: str, message: str) -> SelfieError:
    match code:
        case 401 | 403:
            return PermissionDenied(message)
        case 404:
            return NotFound(message)
        case 409 if reason == "AlreadyExists":
            return AlreadyExists(message)
        case 409:
            return FailedPrecondition(CONFLICT, message)
        case 410:
            return FailedPrecondition(EXPIRED, message)
        case _:
            return FailedPrecondition(reason or f"Http{code}", message)


def _invalid(asked: Asked, status: Mapping[str, Any], message: str) -> SelfieError:
    causes = (status.get("details") or {}).get("causes") or [{}]
    field = causes[0].get("field") or asked.resource
    problem = causes[0].get("message")
    if field == "metadata.uid":
        # A patch for another object of that name: to the server an attempt to change its uid.
        return FailedPrecondition(CONFLICT, message)
    return InvalidInput(field, quoted(problem) if problem else message, f"mend it for `{asked}` to succeed")


def names_its_object(body: bytes) -> bool:
    """Whether a 404 means the object, and not that this server knows no such kind at all."""
    return bool((status_of(body).get("details") or {}).get("name"))


def status_of(body: bytes) -> dict[str, Any]:
    """The ``Status`` object in a body; empty if there is none, as behind a proxy."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def quoted(text: str) -> str:
    """One line of it, short enough for a log."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 1] + "…"


def _retry_after_s(headers: Mapping[str, str], status: Mapping[str, Any]) -> float | None:
    told = headers.get("Retry-After") or (status.get("details") or {}).get("retryAfterSeconds")
    try:
        return min(max(float(told), 0.0), _LONGEST_RETRY_AFTER_S) if told is not None else None
    except (TypeError, ValueError):
        return None
