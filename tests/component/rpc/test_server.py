"""The server that every service shares, seen from a real client over a real port."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from structlog.testing import capture_logs

from selfie import errors
from selfie.rpc.channels import connect, domain_errors, is_ready
from selfie.rpc.guards import guards
from selfie.rpc.interceptors import GuardInterceptor
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings
from selfie.v1 import filtering_pb2, filtering_pb2_grpc, training_pb2, training_pb2_grpc

NAME = "selfie.v1.FilteringService"
Answer = Callable[[filtering_pb2.FilterRequest], Awaitable[filtering_pb2.FilterResponse]]


class ToyFiltering(filtering_pb2_grpc.FilteringServiceServicer):
    """Answers with whatever it is told to."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def Filter(self, request, context):
        return await self._answer(request)


async def echo(request: filtering_pb2.FilterRequest) -> filtering_pb2.FilterResponse:
    return filtering_pb2.FilterResponse(counts={"pairs": len(request.pairs)})


def toy(answer: Answer, **parts) -> Service:
    def register(server: grpc.aio.Server) -> None:
        filtering_pb2_grpc.add_FilteringServiceServicer_to_server(ToyFiltering(answer), server)

    return Service(names=(NAME,), register=register, **parts)


def valid_request() -> filtering_pb2.FilterRequest:
    return filtering_pb2.FilterRequest(
        pairs=[filtering_pb2.CandidatePair(id="a")],
        rules=filtering_pb2.FilterRules(
            action=filtering_pb2.NOISE_ACTION_KEEP, cut=filtering_pb2.CUT_POLICY_KEEP
        ),
    )


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[tuple[RunningServer, grpc.aio.Channel]]]]:
    started: list[tuple[RunningServer, grpc.aio.Channel]] = []

    async def start(service: Service, **settings) -> tuple[RunningServer, grpc.aio.Channel]:
        server = RunningServer(ServerSettings(drain_seconds=2, **settings), service)
        await server.start()
        channel = connect(f"127.0.0.1:{server.port}")
        started.append((server, channel))
        return server, channel

    yield start
    for server, channel in started:
        await channel.close()
        await server.stop()


async def raising(error: Exception) -> None:
    raise error


async def test_a_valid_call_is_answered(serve):
    _, channel = await serve(toy(echo))
    answer = await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(valid_request(), timeout=5)
    assert answer.counts["pairs"] == 1


async def test_a_message_out_of_bounds_is_refused_with_every_field_named(serve):
    _, channel = await serve(toy(echo))
    request = valid_request()
    request.pairs[0].id = ""
    request.rules.noisy_percent = 101
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(request, timeout=5)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    detail = error_details_pb2.BadRequest()
    assert rpc_status.from_call(caught.value).details[0].Unpack(detail)
    assert {violation.field for violation in detail.field_violations} == {
        "pairs[0].id",
        "rules.noisy_percent",
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput("beta", "is 0", "use a positive number"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.NotFound("nothing there"), grpc.StatusCode.NOT_FOUND),
        (errors.AlreadyExists("taken"), grpc.StatusCode.ALREADY_EXISTS),
        (errors.FailedPrecondition("WeightsMismatch", "other"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.OutOfDate("the run has moved on"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.Overloaded("full", retry_after_s=1.5), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.Unavailable("gone"), grpc.StatusCode.UNAVAILABLE),
        (errors.DataCorrupted("torn"), grpc.StatusCode.DATA_LOSS),
    ],
)
async def test_a_domain_error_crosses_the_wire_and_is_the_same_error_again(serve, error, code):
    _, channel = await serve(toy(lambda request: raising(error)))
    stub = filtering_pb2_grpc.FilteringServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as raw:
        await stub.Filter(valid_request(), timeout=5)
    assert raw.value.code() == code
    with pytest.raises(type(error)) as caught:
        async with domain_errors():
            await stub.Filter(valid_request(), timeout=5)
    assert str(caught.value) == str(error)
    assert caught.value.reason == error.reason
    assert getattr(caught.value, "retry_after_s", None) == getattr(error, "retry_after_s", None)


async def test_an_unexpected_error_tells_the_caller_nothing_of_the_inside(serve):
    _, channel = await serve(toy(lambda request: raising(RuntimeError("secret detail"))))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(valid_request(), timeout=5)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()


async def test_a_call_without_deadline_ends_at_the_services_own_limit(serve):
    async def sleepy(request):
        await asyncio.sleep(30)

    _, channel = await serve(toy(sleepy), max_call_seconds=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(valid_request())
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(errors.Unavailable, match="no answer within"):
        async with domain_errors():
            await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(valid_request())


async def test_a_service_is_alive_while_it_loads_and_ready_when_it_has(serve):
    loaded, seen = asyncio.Event(), asyncio.Event()

    async def load() -> None:
        seen.set()
        await loaded.wait()

    server = RunningServer(ServerSettings(drain_seconds=1), toy(echo, load=load))
    starting = asyncio.create_task(server.start())
    await seen.wait()
    async with connect(f"127.0.0.1:{server.port}") as channel:
        alive = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert alive.status == health_pb2.HealthCheckResponse.SERVING
        assert not await is_ready(channel, NAME)
        loaded.set()
        await starting
        assert await is_ready(channel, NAME)
    await server.stop()


async def test_a_call_in_flight_is_finished_before_the_server_goes(serve):
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request):
        entered.set()
        await release.wait()
        return await echo(request)

    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    server = RunningServer(ServerSettings(drain_seconds=10), toy(slow, close=close))
    await server.start()
    async with connect(f"127.0.0.1:{server.port}") as channel:
        stub = filtering_pb2_grpc.FilteringServiceStub(channel)
        call = asyncio.ensure_future(stub.Filter(valid_request(), timeout=10))
        await entered.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        release.set()
        assert (await call).counts["pairs"] == 1
        await stopping
        assert closed.is_set()


async def test_reflection_lists_the_service(serve):
    _, channel = await serve(toy(echo))
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([request]), timeout=5):
        names = {service.name for service in answer.list_services_response.service}
    assert NAME in names


async def test_metrics_count_calls_by_method_and_code(serve):
    server, channel = await serve(toy(lambda request: raising(errors.NotFound("nothing"))))
    server.serve_metrics()
    with pytest.raises(grpc.aio.AioRpcError):
        await filtering_pb2_grpc.FilteringServiceStub(channel).Filter(valid_request(), timeout=5)
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    page = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()
    line = next(
        line
        for line in page.splitlines()
        if line.startswith("selfie_grpc_handled_total")
        and f'method="{NAME}/Filter"' in line
        and "NOT_FOUND" in line
    )
    assert float(line.rsplit(" ", 1)[1]) >= 1


async def test_metrics_name_the_request_behind_a_time_and_the_reason_behind_a_refusal(serve):
    server, channel = await serve(toy(lambda request: raising(errors.FailedPrecondition("Broken", "no"))))
    server.serve_metrics()
    stub = filtering_pb2_grpc.FilteringServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Filter(valid_request(), timeout=5, metadata=[("x-request-id", "request-7")])
    asked = urllib.request.Request(
        f"http://127.0.0.1:{server.metrics_port}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    page = (await asyncio.to_thread(lambda: urllib.request.urlopen(asked).read())).decode()
    times = [line for line in page.splitlines() if line.startswith("selfie_grpc_handling_seconds_bucket")]
    assert any('{request_id="request-7"}' in line for line in times)
    refused = f'selfie_grpc_refused_total{{method="{NAME}/Filter",reason="Broken"}}'
    assert any(line.startswith(refused) for line in page.splitlines())


async def test_a_stream_is_guarded_too(serve):
    class ToyTraining(training_pb2_grpc.TrainingServiceServicer):
        async def WatchTrainingJob(self, request, context):
            yield training_pb2.TrainingJob(name=request.name)
            raise errors.NotFound("it is gone")

    service = Service(
        names=("selfie.v1.TrainingService",),
        register=lambda server: training_pb2_grpc.add_TrainingServiceServicer_to_server(
            ToyTraining(), server
        ),
    )
    _, channel = await serve(service)
    stub = training_pb2_grpc.TrainingServiceStub(channel)
    jobs = []
    with pytest.raises(errors.NotFound):
        async with domain_errors():
            async for job in stub.WatchTrainingJob(
                training_pb2.WatchTrainingJobRequest(name="jobs/a"), timeout=5
            ):
                jobs.append(job.name)
    assert jobs == ["jobs/a"]
    with pytest.raises(errors.InvalidInput):
        async with domain_errors():
            async for _ in stub.WatchTrainingJob(training_pb2.WatchTrainingJobRequest(name=""), timeout=5):
                pass


class Gone:
    """The context of a call whose caller is gone, as gRPC has it: nothing can be sent any more."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def time_remaining(self) -> float:
        return 0.01

    def code(self) -> int:
        return 0

    async def abort_with_status(self, status: object) -> None:
        raise grpc.aio.InternalError


async def test_a_caller_that_is_gone_when_its_time_is_over_is_no_error_of_ours():
    async def slow(request: object, context: object) -> None:
        await asyncio.sleep(10)

    guarded = GuardInterceptor(60, guards()).unary("Service/Method", slow)
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await guarded(valid_request(), Gone())
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []


async def test_what_is_no_message_is_the_callers_mistake(serve):
    _, channel = await serve(toy(echo))
    call = channel.unary_unary(f"/{NAME}/Filter")(b"\xff\xff\xff", timeout=5)
    assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "can't be decoded" in await call.details()
