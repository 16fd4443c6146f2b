"""The scorer over HTTP: the same methods and answers as over gRPC, from the same process."""

import asyncio
import json
import socket

import pytest
from google.protobuf import json_format
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
from selfie.scoring.calls import OnlineLimits
from selfie.scoring.core import Scorer
from selfie.scoring.servicer import scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc
from served_over_http import COMPARE, PROMPT, SERVICE
from web import ask


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
