"""What the scorer refuses over HTTP, and what it says: mistakes, overload, deadlines, and callers' limits."""

import asyncio
import base64
import contextlib
import gzip
import json
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2

from selfie.rpc.channels import connect
from selfie.scoring.calls import OnlineLimits
from selfie.v1 import scoring_pb2, scoring_pb2_grpc
from served_over_http import COMPARE, SERVICE


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"options": {"beta": -1}}, "options.beta"),
        ({"options": {"beta": "much"}}, "beta"),
        ({"options": {"lambdas": [0.5, 99]}}, "options.lambdas[1]"),
        ({"options": {"betta": 1}}, "betta"),
        ({"options": {"tieMargin": "NaN"}}, "options.tie_margin"),
        ({"first": {}}, "first"),
        ({"first": {"responseIds": [100_000]}}, "first"),
        ({"prompt": {"text": "say <|im_end|>"}}, "prompt.text"),
        ({"prompt": {}}, "prompt"),
    ],
)
async def test_what_is_wrong_is_said_by_field(serve, change: dict[str, Any], named: str):
    served = await serve()
    found = await served.ask(f"{SERVICE}/Compare", {**COMPARE, **change})
    assert (found.status, found.body["code"]) == (400, "invalid_argument")
    assert named in found.body["message"]


async def test_the_details_of_an_error_are_those_of_grpc(serve):
    served = await serve()
    found = await served.ask(f"{SERVICE}/Compare", {**COMPARE, "options": {"beta": -1}})
    (detail,) = found.body["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    data = base64.b64decode(detail["value"] + "===")
    (violation,) = error_details_pb2.BadRequest.FromString(data).field_violations
    assert violation.field == "options.beta"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"nonsense", b'{"prompt": {"text": "\\ud800"}}', b'{"\\ud800": 1}', b"\xff\xfe"],
)
async def test_what_is_no_message_is_refused_as_the_callers_mistake(serve, body: bytes):
    found = await (await serve()).ask(f"{SERVICE}/Compare", body)
    assert (found.status, found.body["code"]) == (400, "invalid_argument")


async def test_a_message_that_is_too_long_is_refused_with_the_remedy(serve):
    served = await serve(max_message_bytes=4096)
    long = json.dumps({**COMPARE, "first": {"text": "a" * 8192}}).encode()
    plain = await served.ask(f"{SERVICE}/Compare", long)
    packed = await served.ask(f"{SERVICE}/Compare", gzip.compress(long), **{"Content-Encoding": "gzip"})
    assert (plain.status, plain.body["code"]) == (400, "invalid_argument")
    assert plain.body["message"].startswith(f"request: has {len(long)} bytes, and 4096 at most are read")
    # How long it is unpacked, its sender may not know either.
    assert (packed.status, packed.body["code"]) == (429, "resource_exhausted")


async def test_a_message_far_too_long_is_not_read_to_its_end_and_harms_nobody(serve):
    served = await serve(max_message_bytes=4096)
    # Whoever is cut off while sending may find the connection closed before the answer.
    with contextlib.suppress(OSError):
        found = await served.ask(f"{SERVICE}/Compare", b"[" * 20_000_000)
        assert (found.status, found.body["code"]) == (400, "invalid_argument")
    assert (await served.ask(f"{SERVICE}/Compare", COMPARE)).status == 200


async def test_a_message_of_very_many_values_is_refused_before_it_is_read(serve):
    many = {**COMPARE, "first": {"responseIds": [1] * 70_000}}
    found = await (await serve()).ask(f"{SERVICE}/Compare", many)
    assert (found.status, found.body["code"]) == (400, "invalid_argument")
    assert "over gRPC" in found.body["message"]


async def test_overload_says_in_a_header_when_to_come_back(serve):
    served = await serve(limits=OnlineLimits(max_waiting_calls=0))
    found = await served.ask(f"{SERVICE}/Compare", COMPARE)
    assert (found.status, found.body["code"]) == (429, "resource_exhausted")
    assert int(found.headers["retry-after"]) >= 1


async def test_a_callers_deadline_is_kept(serve):
    served = await serve()
    found = await served.ask(f"{SERVICE}/Compare", COMPARE, **{"Connect-Timeout-Ms": "0"})
    assert (found.status, found.body["code"]) == (504, "deadline_exceeded")


async def test_who_is_refused_while_still_sending_reads_the_refusal(serve):
    served = await serve()
    body = json.dumps(COMPARE).encode()
    head = f"POST {SERVICE}/Compare HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnect-Timeout-Ms: 0\r\n"
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.http_port)
    writer.write((head + fields).encode())
    for half in (body[:20], body[20:]):
        await asyncio.sleep(0.2)
        writer.write(half)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 504")
    assert b"deadline_exceeded" in answer


async def test_a_token_is_asked_for_over_http_too_and_health_needs_none(serve, tmp_path: Path):
    (tmp_path / "ada").write_text("secret\n")
    served = await serve(api_tokens=tmp_path)
    refused = await served.ask(f"{SERVICE}/Compare", b"whatever")
    wrong = await served.ask(f"{SERVICE}/Compare", COMPARE, Authorization="Bearer guess")
    for found in (refused, wrong):
        assert (found.status, found.body["code"]) == (401, "unauthenticated")
    found = await served.ask(f"{SERVICE}/Compare", COMPARE, Authorization="Bearer secret")
    assert found.status == 200
    assert (await served.ask("/readyz")).status == 200


async def test_limits_of_a_caller_count_both_ways_together(serve):
    served = await serve(caller_calls_per_second=0.01)
    async with connect(f"127.0.0.1:{served.server.port}") as channel:
        request = json_format.ParseDict(COMPARE, scoring_pb2.CompareRequest())
        await scoring_pb2_grpc.ScoringServiceStub(channel).Compare(request, timeout=30)
    found = await served.ask(f"{SERVICE}/Compare", COMPARE)
    assert found.status == 429
    assert 1 < int(found.headers["retry-after"]) <= 100


async def test_callers_of_one_address_are_told_apart_by_their_tokens_both_ways(serve, tmp_path: Path):
    for name in ("ada", "grace"):
        (tmp_path / name).write_text(f"{name}'s")
    served = await serve(api_tokens=tmp_path, caller_calls_per_second=0.01)
    request = json_format.ParseDict(COMPARE, scoring_pb2.CompareRequest())

    async def by_grpc(name: str) -> grpc.StatusCode:
        async with connect(f"127.0.0.1:{served.server.port}", credentials=lambda: f"{name}'s") as channel:
            return await scoring_pb2_grpc.ScoringServiceStub(channel).Compare(request, timeout=30).code()

    assert await by_grpc("ada") == grpc.StatusCode.OK
    assert await by_grpc("ada") == grpc.StatusCode.RESOURCE_EXHAUSTED
    refused = await served.ask(f"{SERVICE}/Compare", COMPARE, Authorization="Bearer ada's")
    assert "api-token:ada" in refused.body["message"]
    assert (await served.ask(f"{SERVICE}/Compare", COMPARE, Authorization="Bearer grace's")).status == 200
    assert await by_grpc("grace") == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_header_that_is_no_text_is_the_callers_mistake(serve):
    served = await serve()
    with socket.create_connection(("127.0.0.1", served.server.http_port)) as connection:
        connection.sendall(
            f"POST {SERVICE}/Compare HTTP/1.1\r\nHost: x\r\n".encode() + b"X-Name: \xff\r\n\r\n"
        )
        assert (await asyncio.to_thread(connection.recv, 100)).startswith(b"HTTP/1.1 400")
