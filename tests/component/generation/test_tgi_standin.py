"""The stand-in for TGI keeps TGI's own description, as far as the server does."""

import json
from collections.abc import Iterator

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings

from http_servers import serving_beside
from tgi_openapi import (
    DESCRIPTION,
    MAX_INPUT_TOKENS,
    MAX_TOTAL_TOKENS,
    PATCHES,
    ROUTES,
    patched_description,
)
from tgi_server import TgiStandIn
from toy_models import ToyModel

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: make test installs it"
)

needs_description = pytest.mark.skipif(
    not DESCRIPTION.is_file(), reason=f"TGI's OpenAPI description is not at {DESCRIPTION}"
)


@pytest.fixture(scope="module")
def address(tiny_checkpoint) -> Iterator[str]:
    """A stand-in in a thread of its own, because the checks ask it synchronously."""
    standin = TgiStandIn(
        ToyModel(tiny_checkpoint),
        "/weights/policy",
        max_input_tokens=MAX_INPUT_TOKENS,
        max_total_tokens=MAX_TOTAL_TOKENS,
    )
    with serving_beside(standin.application) as server:
        yield server.url


@needs_description
def test_every_patch_says_why_and_changes_something():
    description = json.loads(DESCRIPTION.read_text())
    for patch in PATCHES:
        before = repr(description)
        patch.apply(description)
        assert patch.reason
        assert repr(description) != before


@needs_description
@pytest.mark.parametrize(
    ("route", "mode"),
    [*((route, "positive") for route in ROUTES), ("/generate", "negative"), ("/tokenize", "negative")],
)
def test_requests_are_taken_and_refused_as_described(address, route, mode):
    schema = schemathesis.openapi.from_dict(patched_description())
    [operation] = [found.ok() for found in schema.include(path=route).get_all_operations()]
    cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=cases)
    def check(case):
        case.call_and_validate(base_url=address)

    check()


@pytest.mark.parametrize(
    ("body", "headers", "status", "told"),
    [
        (b"{", {"content-type": "application/json"}, 400, "Failed to parse"),
        (b"{}", {"content-type": "text/plain"}, 415, "Content-Type"),
        (b'{"inputs": 3}', {"content-type": "application/json"}, 422, "Failed to deserialize"),
        (
            b'{"inputs": "a", "parameters": {"stop": "a"}}',
            {"content-type": "application/json"},
            422,
            "parameters.stop",
        ),
        (b'{"inputs": "' + b"a" * 2_000_000 + b'"}', {"content-type": "application/json"}, 413, "limit"),
    ],
)
def test_what_its_json_layer_refuses_is_told_in_plain_text(address, body, headers, status, told):
    answer = httpx2.post(f"{address}/generate", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert told in answer.text


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("name", ["top_p", "typical_p"])
def test_a_nucleus_of_nothing_or_everything_is_refused(address, name, value):
    body = {"inputs": "a", "parameters": {name: value}}
    answer = httpx2.post(f"{address}/generate", json=body)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")


def generated(address: str, **body) -> dict:
    return httpx2.post(f"{address}/generate", json={"inputs": "Hello", **body}).json()


def test_without_parameters_it_samples_and_with_empty_ones_it_does_not(address):
    assert generated(address, parameters={"details": True})["details"]["seed"] is None
    assert generated(address)["generated_text"] != generated(address, parameters={})["generated_text"]


def test_several_samples_of_a_prompt_are_not_to_be_had_at_once(address):
    answer = generated(address, parameters={"n": 3, "details": True})
    assert set(answer) == {"generated_text", "details"}


def test_more_than_1024_new_tokens_overrun_their_limit(tiny_checkpoint):
    model = ToyModel(tiny_checkpoint, end_chance=0.0)
    standin = TgiStandIn(model, "/weights/policy")
    details = standin.answer("a", [1], {"max_new_tokens": 1500, "details": True})["details"]
    assert details["generated_tokens"] == 2048
