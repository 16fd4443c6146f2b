"""Whatever is sent, the scorer answers, or says which field is wrong, and goes on.

Some hundred requests; ``SELFIE_FUZZ=1000000`` asks for more, and ``SELFIE_FUZZ_SEED`` for others.
"""

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.descriptor import Descriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fuzzing import METHODS, Fuzzer
from selfie.artifacts.store import open_store
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring.core import Scorer
from selfie.scoring.servicer import SERVICE_NAME, scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc

REQUESTS = int(os.environ.get("SELFIE_FUZZ", "600"))
SEED = int(os.environ.get("SELFIE_FUZZ_SEED", "1"))
AT_ONCE = 8
TIMEOUT_S = max(120, REQUESTS // 5)

pytestmark = pytest.mark.timeout(TIMEOUT_S)


@pytest.fixture
async def server(scorer: Scorer) -> AsyncIterator[RunningServer]:
    service = scoring_service(lambda: scorer, replica=Replica(owner="t", open_store=open_store))
    made = RunningServer(ServerSettings(drain_seconds=0, http_port=0, log_level="error"), service)
    await made.start()
    yield made
    await made.stop()


def field_names() -> set[str]:
    found: set[str] = {"request"}

    def visit(message: Descriptor) -> None:
        for field in message.fields:
            if field.name not in found:
                found.update((field.name, field.json_name))
                if field.message_type is not None:
                    visit(field.message_type)

    for method in METHODS.values():
        visit(method.DESCRIPTOR)
    return found


FIELDS = field_names()


def names_a_field(path: str) -> bool:
    return set(re.findall(r"[A-Za-z_]+", path)) & FIELDS != set()


async def by_several(work: Any) -> None:
    """Calls ``work`` with fuzzers of their own until all requests are made."""

    async def some(number: int) -> None:
        fuzzer = Fuzzer(SEED * 1000 + number)
        for _ in range(REQUESTS // AT_ONCE):
            await work(fuzzer)

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(some(number))


async def test_protobuf_however_strange_is_answered_or_refused_by_its_field(server: RunningServer):
    codes: dict[str, int] = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        calls = {method: channel.unary_unary(f"/{SERVICE_NAME}/{method}") for method in METHODS}

        async def send(fuzzer: Fuzzer) -> None:
            method, data = fuzzer.protobuf()
            call = calls[method](data, timeout=60)
            code = await call.code()
            codes[code.name] = codes.get(code.name, 0) + 1
            assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), (method, data, code)
            if code == grpc.StatusCode.INVALID_ARGUMENT:
                found = error_details_pb2.BadRequest()
                status = await rpc_status.aio.from_call(call)
                assert any(detail.Unpack(found) for detail in status.details), (method, data)
                assert all(names_a_field(each.field) for each in found.field_violations), (method, data)

        await by_several(send)
        answer = await scoring_pb2_grpc.ScoringServiceStub(channel).Compare(valid(), timeout=60)
    assert answer.probability > 0
    assert min(codes["OK"], codes["INVALID_ARGUMENT"]) > REQUESTS // 20


async def test_json_however_strange_is_answered_or_refused_by_its_field(server: RunningServer):
    statuses: dict[int, int] = {}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.http_port}") as session:

        async def send(fuzzer: Fuzzer) -> None:
            method, data = fuzzer.json()
            headers = {"Content-Type": "application/json"}
            sent = io.BytesIO(data)
            async with session.post(f"/{SERVICE_NAME}/{method}", data=sent, headers=headers) as answer:
                body = await answer.json()
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            assert answer.status in (200, 400), (method, data, body)
            if answer.status == 400:
                assert body["code"] == "invalid_argument", (method, data, body)
                assert names_a_field(body["message"]), (method, data, body)

        await by_several(send)
        async with session.get("/readyz") as answer:
            assert answer.status == 200
    assert min(statuses[200], statuses[400]) > REQUESTS // 20


def valid() -> scoring_pb2.CompareRequest:
    return scoring_pb2.CompareRequest(
        prompt=scoring_pb2.PromptInput(text="Hi"),
        first=scoring_pb2.ResponseInput(text="Yes."),
        second=scoring_pb2.ResponseInput(text="No."),
    )
