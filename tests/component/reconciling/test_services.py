"""The release's services as a look at a run asks them, over gRPC on this machine's loopback."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from selfie.errors import NotFound, Unavailable
from selfie.runs.names import engine_name
from selfie.runs.steps import ENGINE, FILTERING, SCORING, Step
from selfie.v1 import engine_pb2, engine_pb2_grpc
from selfie_operator.reconciling.services import Addresses, GrpcServices, RunPlace
from selfie_operator.reconciling.settings import ReconcilingSettings

AT = RunPlace("team", "the-uid", "s3://bucket/runs/team/toy-12345")
FILTER = Step(1, "filter")


class Operations(operations_pb2_grpc.OperationsServicer):
    """Answers as told; ``seen`` are the tokens that callers showed."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.seen: list[str] = []

    async def GetOperation(self, request: Any, context: Any) -> operations_pb2.Operation:
        metadata = dict(context.invocation_metadata())
        self.seen.append(metadata.get("authorization", ""))
        answer = self.answers.pop(0)
        if answer == "hang":
            await asyncio.sleep(60)
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as told")
        return answer


class Engine(engine_pb2_grpc.EngineServiceServicer):
    async def GetEngine(self, request: Any, context: Any) -> engine_pb2.GetEngineResponse:
        return engine_pb2.GetEngineResponse(weights_digest="d" * 64)


class Served:
    def __init__(self, port: int, operations: Operations, health: HealthServicer) -> None:
        self.target = f"127.0.0.1:{port}"
        self.operations = operations
        self.health = health

    def services(self, **fields: Any) -> GrpcServices:
        shared = dict.fromkeys(("generation", "filtering", "training"), self.target)
        return GrpcServices(Addresses(shared, own=self.target), **{"call_s": 10, **fields})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    server = grpc.aio.server()
    operations, health = Operations(), HealthServicer()
    operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)
    engine_pb2_grpc.add_EngineServiceServicer_to_server(Engine(), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Served(port, operations, health)
    await server.stop(0)


@pytest.fixture
async def services(served: Served) -> AsyncIterator[GrpcServices]:
    made = served.services()
    yield made
    await made.close()


async def test_a_service_is_ready_when_it_says_so(served: Served, services: GrpcServices):
    assert not await services.is_ready(FILTERING, AT)
    await served.health.set("selfie.v1.FilteringService", health_pb2.HealthCheckResponse.SERVING)
    assert await services.is_ready(FILTERING, AT)
    assert not await services.is_ready(SCORING, AT)


async def test_an_engine_is_asked_which_weights_it_serves(services: GrpcServices):
    assert await services.engine_digest(AT) == "d" * 64


async def test_work_that_goes_on_is_seen(served: Served, services: GrpcServices):
    served.operations.answers = [operations_pb2.Operation(done=False)]
    found = await services.observe(AT, FILTER, 1)
    assert (found.state, found.step, found.attempt) == ("running", FILTER, 1)


async def test_each_call_shows_the_token_as_it_is_then(served: Served):
    tokens = iter(["first", "second"])
    services = served.services(credentials=lambda: next(tokens))
    served.operations.answers = [operations_pb2.Operation(), operations_pb2.Operation()]
    for _ in range(2):
        await services.observe(AT, FILTER, 1)
    assert served.operations.seen == ["Bearer first", "Bearer second"]
    await services.close()


@pytest.mark.parametrize("answer", [grpc.StatusCode.NOT_FOUND, "hang"])
async def test_work_that_nobody_knows_or_answers_for_is_absent(served: Served, answer):
    services = served.services(call_s=0.5)
    served.operations.answers = [answer]
    assert (await services.observe(AT, FILTER, 1)).state == "absent"
    await services.close()


async def test_a_service_that_cannot_be_reached_has_no_work_and_is_not_ready():
    nowhere = GrpcServices(Addresses({"filtering": "127.0.0.1:1"}, own="127.0.0.1:1"), call_s=2)
    assert (await nowhere.observe(AT, FILTER, 1)).state == "absent"
    assert not await nowhere.is_ready(FILTERING, AT)
    assert await nowhere.engine_digest(AT) == ""
    with pytest.raises(Unavailable):
        await nowhere.cancel(AT, FILTER, 1)
    await nowhere.close()


async def test_other_errors_are_the_services_own(served: Served, services: GrpcServices):
    served.operations.answers = [grpc.StatusCode.PERMISSION_DENIED]
    with pytest.raises(Exception) as caught:
        await services.observe(AT, FILTER, 1)
    assert type(caught.value).__name__ == "PermissionDenied"
    assert not isinstance(caught.value, NotFound)


def test_a_runs_own_services_are_found_by_its_uid_and_shared_ones_by_the_release():
    addresses = Addresses.of(ReconcilingSettings())
    assert addresses.target(ENGINE, AT) == f"dns:///{engine_name('the-uid')}.team:50051"
    assert addresses.target(FILTERING, AT) == "dns:///selfie-filtering:50051"


@pytest.mark.parametrize(
    "pattern", ["dns:///{namespace}:1", "dns:///{name.__class__}:1", "dns:///{name}{0}:1"]
)
def test_an_address_that_has_no_name_in_it_is_refused_at_the_start(pattern):
    with pytest.raises(ValueError, match="run_service_address"):
        ReconcilingSettings(run_service_address=pattern)
