"""The generation service in front of the embedded engine, both over real ports."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import code_pb2

from selfie.artifacts.manifests import publish, read_manifest
from selfie.artifacts.rows import PROMPT_SCHEMA
from selfie.artifacts.shards import read_group, write_shard
from selfie.artifacts.store import Store
from selfie.engine.batching import Limits
from selfie.engine.loading import Checkpoint, Loaded, load
from selfie.engine.servicer import engine_service
from selfie.errors import FailedPrecondition, InvalidInput
from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.engines import EngineIdentity, Sample, SamplingParameters, SeededPrompt
from selfie.generation.flow import Flow
from selfie.generation.fronts import Fronts, SameForAll
from selfie.generation.retries import RetryLimits
from selfie.generation.servicer import SERVICE_NAME, Parts, generation_service
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect, domain_errors, is_ready
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener
from selfie.v1 import artifacts_pb2, engine_pb2, generation_pb2, generation_pb2_grpc

QUESTIONS = ("What is the sea?", "Ask a short question.", "Seven boats?", "How do I bake bread?", "Paris?")
PARAMETERS = engine_pb2.SamplingParameters(temperature=0.9, top_p=1.0, max_new_tokens=12)
QUICK = RetryLimits(attempts=3, seconds=5, first_wait_s=0.01, longest_wait_s=0.05)
GENERATE_STEP, SERVE_STEP = "rounds/01/generate", "rounds/00/serve"


class CountingEngine:
    """Passes everything on, counts the sampling calls, and can hold or fail one."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self._engine = engine
        self.calls = 0
        self.before_call: Callable[[int], Awaitable[None]] = self._nothing

    async def _nothing(self, number: int) -> None:
        return None

    async def identity(self) -> EngineIdentity:
        return await self._engine.identity()

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        await self.before_call(self.calls)
        self.calls += 1
        return await self._engine.sample(prompts, parameters, weights_digest=weights_digest)


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> ChatTokenizer:
    return ChatTokenizer(tiny_checkpoint)


@pytest.fixture
def loaded(tiny_checkpoint: Path) -> Loaded:
    return load(Checkpoint(tiny_checkpoint), Limits(rows=8))


@pytest.fixture
def policy(loaded: Loaded) -> str:
    return loaded.engine.identity.weights_digest


@pytest.fixture
async def engine(loaded: Loaded) -> AsyncIterator[CountingEngine]:
    server = RunningServer(ServerSettings(drain_seconds=0), engine_service(lambda: loaded))
    await server.start()
    async with connect(f"127.0.0.1:{server.port}") as channel:
        yield CountingEngine(EmbeddedEngine(channel, timeout_s=30))
    await server.stop()


Start = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest.fixture
async def start(engine: CountingEngine, tokenizer: ChatTokenizer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a generation service and gives a channel to it."""
    started: list[tuple[RunningServer, grpc.aio.Channel]] = []

    async def begin(owner: str = "first") -> grpc.aio.Channel:
        parts = Parts(
            fronts=Fronts({"embedded": SameForAll(engine)}),
            replica=Replica(owner=owner, open_store=store_opener((f"file://{tmp_path}",))),
            tokenizer=tokenizer,
            flow=Flow(rows_at_once=1),
            retries=QUICK,
        )
        server = RunningServer(ServerSettings(drain_seconds=1), generation_service(parts))
        await server.start()
        channel = connect(f"127.0.0.1:{server.port}")
        started.append((server, channel))
        return channel

    yield begin
    for server, channel in started:
        await channel.close()
        await server.stop()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_opener((f"file://{tmp_path}",))(f"file://{tmp_path}/run")


async def publish_prompts(store: Store, tokenizer: ChatTokenizer) -> artifacts_pb2.ManifestRef:
    """The manifest of `prepare` with one prompt for each question."""
    context = OperationContext(
        store=store, step="prepare", attempt=1, writer="w", run_uid="u", loop=asyncio.get_running_loop()
    )
    rows = []
    for number, question in enumerate(QUESTIONS):
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.prompt_ids(messages)
        rows.append(
            {
                "prompt_id": f"p{number}",
                "messages": messages,
                "prompt_ids": prompt.ids,
                "prompt_digest": prompt.digest,
                "truncated": prompt.truncated,
                "source": "test",
            }
        )
    table = pa.Table.from_pylist(rows, schema=PROMPT_SCHEMA)
    path = "prepare/a1/prompts-round-01-00000-w.parquet"
    entry = write_shard(store, path, table, schema=PROMPT_SCHEMA, group="prompts-round-01", name="0.parquet")
    manifest = context.manifest(
        files=(entry,),
        inputs={"tokenizer": tokenizer.tokenizer_digest},
        template_digest=tokenizer.template_digest,
    )
    ref = publish(store, manifest)
    return artifacts_pb2.ManifestRef(path=ref.path, sha256=ref.sha256)


@pytest.fixture
async def request_for(store: Store, tokenizer: ChatTokenizer, policy: str, tmp_path: Path):
    """Makes the request for an attempt; two prompts a shard, so three shards."""
    prompts = await publish_prompts(store, tokenizer)
    request_id = str(uuid.uuid4())

    def made(attempt: int = 1, digest: str = policy) -> generation_pb2.GenerateDatasetRequest:
        return generation_pb2.GenerateDatasetRequest(
            request_id=request_id,
            attempt=artifacts_pb2.Attempt(
                run_uri=f"file://{tmp_path}/run", step=GENERATE_STEP, number=attempt, run_uid="u"
            ),
            prompts=prompts,
            group="prompts-round-01",
            policy=artifacts_pb2.Weights(step="rounds/00/publish", digest=digest),
            samples_per_prompt=2,
            parameters=PARAMETERS,
            random_seed=7,
            shard_rows=2,
        )

    return made


async def begin(channel: grpc.aio.Channel, request) -> operations_pb2.Operation:
    async with domain_errors():
        return await generation_pb2_grpc.GenerationServiceStub(channel).GenerateDataset(request, timeout=10)


async def ended(channel: grpc.aio.Channel, name: str) -> operations_pb2.Operation:
    stub = operations_pb2_grpc.OperationsStub(channel)
    while not (operation := await stub.GetOperation(operations_pb2.GetOperationRequest(name=name))).done:
        await asyncio.sleep(0.05)
    return operation


async def online(channel: grpc.aio.Channel, **parts) -> generation_pb2.GenerateResponse:
    request = generation_pb2.GenerateRequest(samples=3, parameters=PARAMETERS, random_seed=5, **parts)
    async with domain_errors():
        return await generation_pb2_grpc.GenerationServiceStub(channel).Generate(request, timeout=30)


def responses_of(answer: generation_pb2.GenerateResponse) -> list[tuple[int, ...]]:
    return [tuple(one.response_ids) for one in answer.responses]


def chat(text: str) -> list[artifacts_pb2.Message]:
    return [artifacts_pb2.Message(role="user", content=text)]


async def test_a_chat_is_answered_with_the_ids_that_the_model_read(start, tokenizer, policy):
    answer = await online(await start(), messages=chat(QUESTIONS[0]))
    expected = tokenizer.prompt_ids([{"role": "user", "content": QUESTIONS[0]}]).ids
    assert tuple(answer.prompt_ids) == expected
    assert answer.weights_digest == policy
    assert len(answer.responses) == 3
    for one in answer.responses:
        assert one.text == tokenizer.decode_response(one.response_ids)


async def test_a_chat_and_its_ids_give_the_same_samples_every_time(start):
    channel = await start()
    first = await online(channel, messages=chat(QUESTIONS[0]))
    again = await online(channel, messages=chat(QUESTIONS[0]))
    by_ids = await online(channel, prompt_ids=first.prompt_ids)
    assert responses_of(first) == responses_of(again) == responses_of(by_ids)
    assert len(set(responses_of(first))) == 3


async def test_neither_chat_nor_ids_is_refused(start):
    with pytest.raises(InvalidInput, match="not both and not neither"):
        await online(await start())


async def test_the_engine_is_proven_to_serve_the_policy(start, store, policy, tmp_path):
    request = generation_pb2.VerifyEngineRequest(
        attempt=artifacts_pb2.Attempt(
            run_uri=f"file://{tmp_path}/run", step=SERVE_STEP, number=1, run_uid="u"
        ),
        policy=artifacts_pb2.Weights(step="rounds/00/publish", digest=policy),
    )
    stub = generation_pb2_grpc.GenerationServiceStub(await start())
    answer = await stub.VerifyEngine(request, timeout=10)
    assert answer.engine.weights_digest == policy
    assert answer.result.manifest.path == f"{SERVE_STEP}/manifest.json"
    assert read_manifest(store, SERVE_STEP).weights_digest == policy
    request.policy.digest = "0" * 64
    with pytest.raises(FailedPrecondition) as caught:
        async with domain_errors():
            await stub.VerifyEngine(request, timeout=10)
    assert caught.value.reason == "WeightsMismatch"


async def test_a_data_set_is_generated_in_shards_under_one_manifest(
    start, store, request_for, tokenizer, policy
):
    channel = await start()
    operation = await ended(channel, (await begin(channel, request_for())).name)
    result = artifacts_pb2.StepResult()
    assert operation.response.Unpack(result)
    assert result.counts["samples"] == 10
    manifest = read_manifest(store, GENERATE_STEP)
    rows = read_group(store, manifest, "samples").to_pylist()
    assert [row["prompt_id"] for row in rows] == [f"p{number}" for number in range(5) for _ in range(2)]
    assert [entry.rows for entry in manifest.files] == [4, 4, 2]
    assert {row["policy_digest"] for row in rows} == {policy}
    assert {row["ids_from"] for row in rows} == {"engine"}
    for row in rows:
        finished = tokenizer.is_finished(row["response_ids"])
        assert row["finish_reason"] == ("stop" if finished else "length")
    assert manifest.measures["finished_share"] == sum(row["finish_reason"] == "stop" for row in rows) / len(
        rows
    )


async def test_an_interrupted_data_set_goes_on_without_redoing_its_shards(start, store, engine, request_for):
    interrupted = asyncio.Event()

    async def hold_second(number: int) -> None:
        if number == 1:
            interrupted.set()
            await asyncio.sleep(60)

    engine.before_call = hold_second
    first = await start("first")
    operation = await begin(first, request_for())
    await interrupted.wait()
    await operations_pb2_grpc.OperationsStub(first).CancelOperation(
        operations_pb2.CancelOperationRequest(name=operation.name)
    )
    assert (await ended(first, operation.name)).error.code == code_pb2.CANCELLED
    assert engine.calls == 1

    engine.before_call = engine._nothing
    second = await start("second")
    await begin(second, request_for())
    assert (await ended(second, operation.name)).HasField("response")
    assert engine.calls == 3  # of three shards the first was there already
    manifest = read_manifest(store, GENERATE_STEP)
    assert ["-first." in entry.path for entry in manifest.files] == [True, False, False]
    assert manifest.counts["samples"] == 10


async def test_an_attempt_made_again_elsewhere_gives_the_same_rows(start, store, request_for):
    channel = await start()
    await ended(channel, (await begin(channel, request_for())).name)
    first = read_group(store, read_manifest(store, GENERATE_STEP), "samples")
    store.delete(f"{GENERATE_STEP}/manifest.json")
    again = request_for(attempt=2)
    again.shard_rows = 5
    await ended(channel, (await begin(channel, again)).name)
    second = read_group(store, read_manifest(store, GENERATE_STEP), "samples")
    assert first.to_pylist() == second.to_pylist()


async def test_a_data_set_of_other_weights_fails_and_publishes_nothing(start, store, request_for):
    channel = await start()
    operation = await ended(channel, (await begin(channel, request_for(digest="0" * 64))).name)
    assert operation.error.code == code_pb2.FAILED_PRECONDITION
    assert "move the engine" in operation.error.message
    assert read_manifest(store, GENERATE_STEP) is None


async def test_a_run_outside_the_allowed_roots_is_refused(start, request_for):
    request = request_for()
    request.attempt.run_uri = "file:///somewhere/else"
    with pytest.raises(InvalidInput, match="not below a root"):
        await begin(await start(), request)


async def test_the_service_is_ready_whether_or_not_an_engine_is_there(start):
    assert await is_ready(await start(), SERVICE_NAME)
