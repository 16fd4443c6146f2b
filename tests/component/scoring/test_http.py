"""The scorer over HTTP: the same methods, guards and answers as over gRPC, from the same process."""

import asyncio
import base64
import contextlib
import gzip
import json
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from openapi_spec_validator import validate
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from selfie.artifacts.store import open_store
from selfie.errors import InvalidInput
from selfie.rpc.channels import connect
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring.calls import DEFAULT_LIMITS, OnlineLimits
from selfie.scoring.core import Scorer
from selfie.scoring.servicer import scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc
from web import Answer, ask

SERVICE = "/selfie.v1.ScoringService"
PROMPT = {"text": "What is the capital of France?"}
COMPARE = {"prompt": PROMPT, "first": {"text": "Paris."}, "second": {"text": "The sea is wide."}}


class Served:
    """A scorer over both ways; ``release`` lets it load."""

    def __init__(self, scorer: Scorer, limits: OnlineLimits, **settings: Any) -> None:
        self.release = threading.Event()

        def load() -> Scorer:
            self.release.wait(20)
            return scorer

        service = scoring_service(load, replica=Replica(owner="t", open_store=open_store), limits=limits)
        self.server = RunningServer(ServerSettings(drain_seconds=1, http_port=0, **settings), service)

    async def listening(self) -> None:
        self._starting = asyncio.create_task(self.server.start())
        async with asyncio.timeout(20):
            while not self.server.http_port:
                await asyncio.sleep(0.01)

    async def ready(self) -> None:
        self.release.set()
        await self._starting

    async def ask(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await ask(f"http://127.0.0.1:{self.server.http_port}{path}", body, headers=headers)


@pytest.fixture
async def serve(scorer: Scorer) -> AsyncIterator[Any]:
    started: list[Served] = []

    async def serving(
        *, limits: OnlineLimits = DEFAULT_LIMITS, ready: bool = True, **settings: Any
    ) -> Served:
        served = Served(scorer, limits, **settings)
        started.append(served)
        await served.listening()
        if ready:
            await served.ready()
        return served

    yield serving
    for served in started:
        await served.ready()
        await served.server.stop()


async def test_an_answer_is_that_of_grpc_in_json(serve):
    served = await serve()
    found = await served.ask(f"{SERVICE}/Compare", COMPARE)
    async with connect(f"127.0.0.1:{served.server.port}") as channel:
        request = json_format.ParseDict(COMPARE, scoring_pb2.CompareRequest())
        over_grpc = await scoring_pb2_grpc.ScoringServiceStub(channel).Compare(request, timeout=30)
    assert found.status == 200
    assert json_format.ParseDict(found.body, scoring_pb2.CompareResponse()) == over_grpc
    assert found.body["preference"] in ("PREFERENCE_FIRST", "PREFERENCE_SECOND")


async def test_a_call_is_a_span_below_its_callers(serve, monkeypatch):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    served = await serve()
    caller, above = "c" * 32, "a" * 16
    await served.ask(f"{SERVICE}/Compare", COMPARE, traceparent=f"00-{caller}-{above}-01")
    refused = await served.ask(f"{SERVICE}/Compare", {**COMPARE, "first": {}})
    assert refused.status == 400
    first, second = (span for span in exporter.get_finished_spans() if span.name == f"{SERVICE}/Compare")
    assert (f"{first.context.trace_id:032x}", f"{first.parent.span_id:016x}") == (caller, above)
    assert second.parent is None
    assert not second.status.is_ok


async def test_a_field_at_its_default_stands_in_the_answer_too(serve):
    served = await serve()
    same = {**COMPARE, "second": COMPARE["first"]}
    found = await served.ask(f"{SERVICE}/Compare", same)
    assert (found.body["margin"], found.body["first"]["tokensCut"]) == (0.0, 0)
    assert "calibratedProbability" not in found.body


async def test_protobuf_is_answered_in_protobuf(serve):
    served = await serve()
    request = json_format.ParseDict(COMPARE, scoring_pb2.CompareRequest())
    headers = {"Content-Type": "application/proto"}
    url = f"http://127.0.0.1:{served.server.http_port}{SERVICE}/Compare"
    found = await ask(url, request.SerializeToString(), headers=headers)
    assert found.headers["content-type"] == "application/proto"
    assert scoring_pb2.CompareResponse.FromString(found.body).probability > 0


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


async def test_a_port_that_is_taken_is_said_to_be(serve, scorer: Scorer):
    taken = (await serve()).server
    for way, port in (("http_port", taken.http_port), ("port", taken.port)):
        service = scoring_service(lambda: scorer, replica=Replica(owner="t", open_store=open_store))
        other = RunningServer(ServerSettings(**{way: port}), service)
        with pytest.raises(InvalidInput, match=f"127.0.0.1:{port} can't be listened on"):
            await other.start()
        await other.stop()


async def test_health_tells_loading_from_ready(serve):
    served = await serve(ready=False)
    assert (await served.ask("/healthz")).status == 200
    assert (await served.ask("/readyz")).status == 503
    loading = await served.ask(f"{SERVICE}/Compare", COMPARE)
    assert (loading.status, loading.body["code"]) == (503, "unavailable")
    await served.ready()
    assert (await served.ask("/readyz")).status == 200


async def test_overload_says_in_a_header_when_to_come_back(serve):
    served = await serve(limits=OnlineLimits(max_waiting_calls=0))
    found = await served.ask(f"{SERVICE}/Compare", COMPARE)
    assert (found.status, found.body["code"]) == (429, "resource_exhausted")
    assert int(found.headers["retry-after"]) >= 1


async def test_a_callers_deadline_is_kept(serve):
    served = await serve()
    found = await served.ask(f"{SERVICE}/Compare", COMPARE, **{"Connect-Timeout-Ms": "0"})
    assert (found.status, found.body["code"]) == (504, "deadline_exceeded")


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


async def test_batch_operations_answer_as_well(serve):
    served = await serve()
    found = await served.ask("/google.longrunning.Operations/GetOperation", {"name": "nonsense"})
    assert (found.status, found.body["code"]) == (400, "invalid_argument")


async def test_the_description_is_served_and_names_every_path_that_answers(serve):
    served = await serve()
    description = (await served.ask("/openapi.json")).body
    validate(description)
    for path, item in description["paths"].items():
        found = await served.ask(path, {} if "post" in item else None)
        assert found.status in (200, 400), path
    assert (await served.ask("/selfie.v1.ScoringService/Nothing", {})).status == 404


async def test_an_answer_is_what_the_description_says(serve):
    import jsonschema

    served = await serve()
    description = (await served.ask("/openapi.json")).body
    for method, body in (
        ("Compare", COMPARE),
        ("Rank", {"prompt": PROMPT, "responses": [{"text": "a"}], "options": {"lambdas": [1]}}),
    ):
        request = description["paths"][f"{SERVICE}/{method}"]["post"]
        for schema, value in (
            (request["requestBody"]["content"], body),
            (request["responses"]["200"]["content"], (await served.ask(f"{SERVICE}/{method}", body)).body),
        ):
            document = {**schema["application/json"]["schema"], "components": description["components"]}
            jsonschema.validate(value, document)


async def test_a_caller_that_hangs_up_leaves_nothing_behind(serve):
    served = await serve(limits=OnlineLimits(max_waiting_calls=1))
    body = json.dumps(COMPARE).encode()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", served.server.http_port)) as connection:
            head = f"POST {SERVICE}/Compare HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-5])
        await asyncio.sleep(0.05)
    assert (await served.ask(f"{SERVICE}/Compare", COMPARE)).status == 200


async def test_a_header_that_is_no_text_is_the_callers_mistake(serve):
    served = await serve()
    with socket.create_connection(("127.0.0.1", served.server.http_port)) as connection:
        connection.sendall(
            f"POST {SERVICE}/Compare HTTP/1.1\r\nHost: x\r\n".encode() + b"X-Name: \xff\r\n\r\n"
        )
        assert (await asyncio.to_thread(connection.recv, 100)).startswith(b"HTTP/1.1 400")
