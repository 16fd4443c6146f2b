"""What the API server says, as our own errors."""

import json

import pytest

from selfie.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unavailable,
)
from selfie.kube.answers import LONGEST_QUOTE, failure_of
from selfie.kube.objects import JOB
from selfie.kube.requests import Asked

ASKED = Asked("create", JOB, "team", "quickstart")


def status(reason: str = "", message: str = "no", **details: object) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "kind", "ours"),
    [
        (400, "BadRequest", InvalidInput, "InvalidInput"),
        (401, "Unauthorized", PermissionDenied, "PermissionDenied"),
        (403, "Forbidden", PermissionDenied, "PermissionDenied"),
        (404, "NotFound", NotFound, "NotFound"),
        (405, "MethodNotAllowed", FailedPrecondition, "MethodNotAllowed"),
        (409, "AlreadyExists", AlreadyExists, "AlreadyExists"),
        (409, "Conflict", FailedPrecondition, "Conflict"),
        (410, "Expired", FailedPrecondition, "Expired"),
        (410, "Gone", FailedPrecondition, "Expired"),
        (413, "RequestEntityTooLarge", InvalidInput, "InvalidInput"),
        (418, "", FailedPrecondition, "Http418"),
        (422, "Invalid", InvalidInput, "InvalidInput"),
        (429, "TooManyRequests", Overloaded, "Overloaded"),
        (500, "InternalError", Unavailable, "Unavailable"),
        (503, "ServiceUnavailable", Unavailable, "Unavailable"),
        (504, "Timeout", Unavailable, "Unavailable"),
    ],
)
def test_each_code_is_one_error(code: int, reason: str, kind: type[Exception], ours: str):
    error = failure_of(ASKED, code, {}, status(reason))
    assert type(error) is kind
    assert error.reason == ours


def test_a_refusal_names_verb_and_resource():
    error = failure_of(ASKED, 403, {}, status("Forbidden"))
    assert "create jobs team/quickstart: 403 no" in str(error)


def test_an_invalid_field_is_the_one_that_the_server_names():
    body = status("Invalid", causes=[{"field": "spec.rounds", "message": "too many"}])
    error = failure_of(ASKED, 422, {}, body)
    assert isinstance(error, InvalidInput)
    assert (error.field, error.problem) == ("spec.rounds", "too many")


def test_a_patch_of_another_object_of_that_name_is_a_conflict():
    body = status("Invalid", causes=[{"field": "metadata.uid", "message": "field is immutable"}])
    assert failure_of(ASKED, 422, {}, body).reason == "Conflict"


@pytest.mark.parametrize("code", [429, 503])
def test_the_servers_time_to_come_back_is_kept(code: int):
    error = failure_of(ASKED, code, {"Retry-After": "7"}, b"")
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 7


def test_the_time_to_come_back_may_be_in_the_body():
    error = failure_of(ASKED, 429, {}, status("TooManyRequests", retryAfterSeconds=3))
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 3


def test_a_senseless_time_to_come_back_is_not_obeyed():
    for told in ("tomorrow", "-5", "1e9"):
        error = failure_of(ASKED, 429, {"Retry-After": told}, b"")
        assert isinstance(error, Overloaded)
        assert 0 <= error.retry_after_s <= 300


def test_a_page_of_html_is_quoted_short_and_on_one_line():
    error = failure_of(ASKED, 502, {}, b"<html>\n" + b"x" * 100_000)
    assert len(str(error)) < LONGEST_QUOTE + 100
    assert "\n" not in str(error)
