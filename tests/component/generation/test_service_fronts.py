"""The generation service in front of TGI: over gRPC on one side, HTTP on the other, a real store between."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import code_pb2

from http_servers import serving
from selfie.artifacts.manifests import publish, read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.artifacts.weights import add_directory, weights_digest
from selfie.errors import FailedPrecondition, NotFound, Unavailable
from selfie.generation.__main__ import build
from selfie.generation.fronts import FleetFront
from selfie.generation.http.clients import Address
from selfie.generation.policies import PublishedWeights
from selfie.generation.settings import GenerationSettings
from selfie.rpc.channels import connect, domain_errors
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.server import RunningServer
from selfie.rpc.stores import store_opener
from selfie.runs.names import run_key
from selfie.tracing.attempts import trace_of
from selfie.v1 import artifacts_pb2, engine_pb2, generation_pb2, generation_pb2_grpc
from tgi_server import TgiStandIn

from .test_service import publish_prompts

PARAMETERS = engine_pb2.SamplingParameters(temperature=0.9, top_p=1.0, max_new_tokens=12)
STEP = "rounds/01/generate"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_opener((f"file://{tmp_path}",))(f"file://{tmp_path}/run")


@pytest.fixture
async def policy(store: Store, tiny_checkpoint: Path) -> str:
    """The tiny checkpoint, as `publish` has put it into the store; its digest."""
    entries = add_directory(
        store, tiny_checkpoint, group="checkpoint", path="rounds/00/publish/a1/c", keep_source=True
    )
    loop = asyncio.get_running_loop()
    context = OperationContext(
        store=store, step="rounds/00/publish", attempt=1, writer="w", run_uid="u", loop=loop
    )
    publish(store, context.manifest(files=entries, weights_digest=weights_digest(entries)))
    return weights_digest(entries)


@pytest.fixture
async def standin(toy_model, policy) -> TgiStandIn:
    return TgiStandIn(toy_model, f"/weights/{policy}")


@pytest.fixture
async def channel(standin, tiny_checkpoint, tmp_path) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(standin.application) as engine:
        settings = GenerationSettings(
            engine="tgi",
            engine_address=engine.url,
            tokenizer=tiny_checkpoint,
            artifact_roots=(f"file://{tmp_path}",),
            drain_seconds=1,
            retry_seconds=5,
        )
        service = await build(settings)
        server = RunningServer(settings, service)
        await server.start()
        async with connect(f"127.0.0.1:{server.port}") as channel:
            yield channel
        await server.stop()


def attempt_at(step: str, tmp_path: Path) -> artifacts_pb2.Attempt:
    return artifacts_pb2.Attempt(run_uri=f"file://{tmp_path}/run", step=step, number=1, run_uid="u")


async def test_a_chat_is_answered_with_the_weights_that_tgi_serves(channel, policy, tokenizer):
    stub = generation_pb2_grpc.GenerationServiceStub(channel)
    request = generation_pb2.GenerateRequest(
        messages=[artifacts_pb2.Message(role="user", content="What is the sea?")],
        samples=3,
        parameters=PARAMETERS,
        random_seed=5,
    )
    answer = await stub.Generate(request, timeout=30)
    assert answer.weights_digest == policy
    assert len({tuple(one.response_ids) for one in answer.responses}) == 3
    for one in answer.responses:
        assert one.text == tokenizer.decode_response(one.response_ids)


async def test_tgi_is_proven_to_serve_the_policy(channel, policy, store, standin, tmp_path):
    stub = generation_pb2_grpc.GenerationServiceStub(channel)
    request = generation_pb2.VerifyEngineRequest(
        attempt=attempt_at("rounds/00/serve", tmp_path),
        policy=artifacts_pb2.Weights(step="rounds/00/publish", digest=policy),
    )
    standin.model_id = f"/weights/{'0' * 64}"
    with pytest.raises(FailedPrecondition) as caught:
        async with domain_errors():
            await stub.VerifyEngine(request, timeout=30)
    assert caught.value.reason == "WeightsMismatch"
    standin.model_id = f"/weights/{policy}"
    answer = await stub.VerifyEngine(request, timeout=30)
    assert answer.engine.engine == "tgi/3.3.6-dev0"
    assert read_manifest(store, "rounds/00/serve").weights_digest == policy


async def test_a_data_set_is_generated_through_tgi_with_the_tokenizer_of_the_published_policy(
    channel, policy, store, standin, tokenizer, tmp_path
):
    request = generation_pb2.GenerateDatasetRequest(
        request_id=str(uuid.uuid4()),
        attempt=attempt_at(STEP, tmp_path),
        prompts=await publish_prompts(store, tokenizer),
        group="prompts-round-01",
        policy=artifacts_pb2.Weights(step="rounds/00/publish", group="checkpoint", digest=policy),
        samples_per_prompt=2,
        parameters=PARAMETERS,
        random_seed=7,
        shard_rows=2,
    )
    operation = await generation_pb2_grpc.GenerationServiceStub(channel).GenerateDataset(request, timeout=10)
    operations = operations_pb2_grpc.OperationsStub(channel)
    while not operation.done:
        await asyncio.sleep(0.05)
        operation = await operations.GetOperation(operations_pb2.GetOperationRequest(name=operation.name))
    assert operation.error.code == code_pb2.OK, operation.error.message
    manifest = read_manifest(store, STEP)
    rows = read_group(store, manifest, "samples").to_pylist()
    assert len(rows) == 10
    assert {row["engine"] for row in rows} == {"tgi/3.3.6-dev0"}
    assert {row["policy_digest"] for row in rows} == {policy}
    traces = {headers["traceparent"].split("-")[1] for headers in standin.headers}
    assert trace_of("u", STEP, 1) in traces


class Nobody:
    """A server that is never there."""

    def __init__(self, where: str) -> None:
        self.where = where

    async def look(self):
        raise Unavailable(f"{self.where} is not there")

    async def close(self) -> None:
        return None


async def test_each_run_has_the_engine_at_its_own_address(store, policy):
    asked: list[str] = []

    def connected(address: Address) -> Nobody:
        asked.append(address.url)
        return Nobody(address.url)

    front = FleetFront("http://127.0.0.1:9/{run}", connected)
    with pytest.raises(FailedPrecondition) as caught:
        front.online()
    assert caught.value.reason == "RunUnknown"
    weights = PublishedWeights("rounds/00/publish", "", policy)
    for uid in ("first", "second", "first"):
        loop = asyncio.get_running_loop()
        context = OperationContext(store=store, step=STEP, attempt=1, writer="w", run_uid=uid, loop=loop)
        engine = await front.of_policy(context, weights)
        with pytest.raises(Unavailable):
            await engine.identity()
    assert asked == [f"http://127.0.0.1:9/{run_key(uid)}" for uid in ("first", "second")]
    await front.close()


async def test_a_policy_that_is_not_as_it_was_asked_for_has_no_engine(store, policy):
    front = FleetFront("http://127.0.0.1:9", lambda address: Nobody(address.url))
    loop = asyncio.get_running_loop()
    context = OperationContext(store=store, step=STEP, attempt=1, writer="w", run_uid="u", loop=loop)
    with pytest.raises(FailedPrecondition) as caught:
        await front.of_policy(context, PublishedWeights("rounds/00/publish", "checkpoint", "0" * 64))
    assert caught.value.reason == "WeightsDiffer"
    with pytest.raises(NotFound):
        await front.of_policy(context, PublishedWeights("rounds/09/publish", "checkpoint", policy))
