"""The embedded engine over a real port, with a tiny checkpoint."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY

from selfie.artifacts.weights import directory_digest
from selfie.engine.batching import Limits
from selfie.engine.loading import Checkpoint, Loaded, load
from selfie.engine.metrics import QUEUED_ROWS
from selfie.engine.servicer import SERVICE_NAME, engine_service
from selfie.errors import DataCorrupted, FailedPrecondition, InvalidInput, Overloaded, Unavailable
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect, domain_errors, is_ready
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.v1 import artifacts_pb2, engine_pb2, engine_pb2_grpc

STOP, LENGTH = artifacts_pb2.FINISH_REASON_STOP, artifacts_pb2.FINISH_REASON_LENGTH
LIMITS = Limits(rows=8, tokens=4096, queued_rows=40)
# Tokens of a response that keeps the engine busy for many seconds.
LONG = 1500


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> ChatTokenizer:
    return ChatTokenizer(tiny_checkpoint)


@pytest.fixture
def loaded(tiny_checkpoint: Path) -> Loaded:
    return load(Checkpoint(tiny_checkpoint), LIMITS)


@pytest.fixture
async def server(loaded: Loaded) -> AsyncIterator[RunningServer]:
    running = RunningServer(ServerSettings(drain_seconds=0), engine_service(lambda: loaded))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def stub(server: RunningServer) -> AsyncIterator[engine_pb2_grpc.EngineServiceStub]:
    async with connect(f"127.0.0.1:{server.port}") as channel:
        yield engine_pb2_grpc.EngineServiceStub(channel)


def request(*prompts: tuple[int, ...], seeds=(1, 2, 3), new_tokens=40, temperature=0.9, digest=""):
    return engine_pb2.SampleRequest(
        prompts=[engine_pb2.TokenizedPrompt(prompt_ids=ids, seeds=seeds) for ids in prompts],
        parameters=engine_pb2.SamplingParameters(
            temperature=temperature, top_p=1.0, max_new_tokens=new_tokens
        ),
        expected_weights_digest=digest,
    )


async def ask(stub, *prompts, timeout: float = 30, **wishes) -> engine_pb2.SampleResponse:
    async with domain_errors():
        return await stub.Sample(request(*prompts, **wishes), timeout=timeout)


def ids_of(answer: engine_pb2.SampleResponse) -> list[list[tuple[int, ...]]]:
    return [[tuple(one.response_ids) for one in prompt.responses] for prompt in answer.prompts]


async def test_the_engine_says_who_it_is(stub, tiny_checkpoint, tokenizer):
    who = await stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=10)
    assert who.weights_digest == directory_digest(tiny_checkpoint)
    assert who.tokenizer_digest == tokenizer.tokenizer_digest
    assert who.max_context_tokens == 2048
    assert who.precision == "float32"
    assert who.engine.startswith("selfie-embedded/")


async def test_the_same_seeds_give_the_same_ids_alone_and_among_others(stub):
    prompts = [(5, 6, 7), (9,) * 30, (11, 12)]
    first = ids_of(await ask(stub, *prompts))
    again = ids_of(await ask(stub, *prompts))
    alone = [ids_of(await ask(stub, ids))[0] for ids in prompts]
    crowded = await asyncio.gather(*(ask(stub, ids) for ids in prompts))
    assert first == again == alone == [ids_of(answer)[0] for answer in crowded]
    assert len({ids for responses in first for ids in responses}) == 9


async def test_the_end_token_is_kept_in_the_ids_and_left_out_of_the_text(stub, tokenizer):
    answer = await ask(stub, (5, 6, 7), (40, 41), seeds=range(16), new_tokens=100)
    responses = [one for prompt in answer.prompts for one in prompt.responses]
    ended = [one for one in responses if one.finish_reason == STOP]
    assert ended
    for one in responses:
        assert one.text == tokenizer.decode_response(one.response_ids)
        assert "<|im_end|>" not in one.text
        inside = one.response_ids[:-1] if one.finish_reason == STOP else one.response_ids
        assert not tokenizer.end_of_turn_ids & set(inside)
        assert one.finish_reason == STOP or len(one.response_ids) == 100
        assert tokenizer.is_finished(one.response_ids) == (one.finish_reason == STOP)


async def test_a_response_cut_by_the_limit_says_so(stub):
    answer = await ask(stub, (5, 6, 7), new_tokens=1, temperature=0, seeds=(1,))
    assert answer.prompts[0].responses[0].finish_reason == LENGTH
    assert len(answer.prompts[0].responses[0].response_ids) == 1


async def test_answers_carry_their_seeds_and_the_digest_of_the_weights(stub, loaded):
    answer = await ask(stub, (5, 6), seeds=(2**64 - 1, 3), digest=loaded.engine.identity.weights_digest)
    assert [one.seed for one in answer.prompts[0].responses] == [2**64 - 1, 3]
    assert answer.weights_digest == loaded.engine.identity.weights_digest


async def test_a_caller_that_means_other_weights_is_refused(stub):
    with pytest.raises(FailedPrecondition) as caught:
        await ask(stub, (5, 6), digest="0" * 64)
    assert caught.value.reason == "WeightsMismatch"


async def test_a_prompt_that_leaves_no_room_is_refused_with_its_field(stub):
    with pytest.raises(InvalidInput, match="cut the prompt to 2008 tokens") as caught:
        await ask(stub, (5, 6), (7,) * 2009)
    assert caught.value.field == "prompts[1].prompt_ids"


async def until_queued(rows: int) -> None:
    async with asyncio.timeout(10):
        while REGISTRY.get_sample_value("selfie_engine_queued_rows") != rows:
            await asyncio.sleep(0.01)


async def test_a_full_queue_is_overload_and_what_was_accepted_is_answered(stub):
    QUEUED_ROWS.set(-1)  # What the engine never says, so that its next 0 is that of these rows being decoded.
    busy = asyncio.create_task(ask(stub, (5,), new_tokens=LONG, seeds=range(8)))
    await until_queued(0)
    waiting = asyncio.create_task(ask(stub, (6,), seeds=range(40), new_tokens=2))
    await until_queued(40)
    with pytest.raises(Overloaded) as caught:
        await ask(stub, (7,))
    assert caught.value.retry_after_s > 0
    assert len(ids_of(await busy)[0]) == 8
    assert len(ids_of(await waiting)[0]) == 40


async def test_a_call_past_its_deadline_stops_costing_anything(stub):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Sample(request((5,), seeds=range(8), new_tokens=LONG), timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    started = time.monotonic()
    assert await ask(stub, (6,), new_tokens=1)
    assert time.monotonic() - started < 5


async def test_a_caller_that_hangs_up_makes_room_for_the_next(stub):
    call = stub.Sample(request((5,), seeds=range(8), new_tokens=LONG))
    await asyncio.sleep(0.1)
    call.cancel()
    started = time.monotonic()
    assert await ask(stub, (6,), new_tokens=1)
    assert time.monotonic() - started < 5


async def test_calls_are_refused_as_unavailable_until_the_weights_are_there(loaded):
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly() -> Loaded:
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)
        return loaded

    running = RunningServer(ServerSettings(drain_seconds=0), engine_service(slowly))
    starting = asyncio.create_task(running.start())
    while not running.port:
        await asyncio.sleep(0.01)
    async with connect(f"127.0.0.1:{running.port}") as channel:
        assert not await is_ready(channel, SERVICE_NAME)
        with pytest.raises(Unavailable, match="loading"):
            await ask(engine_pb2_grpc.EngineServiceStub(channel), (5,))
        go_on.set()
        await starting
        assert await is_ready(channel, SERVICE_NAME)
        assert await ask(engine_pb2_grpc.EngineServiceStub(channel), (5,), new_tokens=1)
    await running.stop()


def test_weights_that_are_not_those_promised_are_not_served(tiny_checkpoint):
    with pytest.raises(DataCorrupted, match="fetch the weights again"):
        load(Checkpoint(tiny_checkpoint, digest="0" * 64), LIMITS)


def test_weights_are_served_in_the_number_format_asked_for(tiny_checkpoint):
    digest = directory_digest(tiny_checkpoint)
    engine = load(replace(Checkpoint(tiny_checkpoint, digest=digest), dtype="bfloat16"), LIMITS).engine
    engine.close()
    assert engine.identity.precision == "bfloat16"


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_the_program_serves_announces_its_port_and_ends_on_sigterm(tiny_checkpoint, tmp_path):
    ports = tmp_path / "port.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "selfie.engine", "--weights", str(tiny_checkpoint), "--port-file", str(ports)),
        *("--weights-digest", directory_digest(tiny_checkpoint), "--parent-pid", str(os.getpid())),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        while not ports.exists():
            assert process.returncode is None
            await asyncio.sleep(0.1)
        async with connect(f"127.0.0.1:{json.loads(ports.read_text())['port']}") as channel:
            assert ids_of(await ask(engine_pb2_grpc.EngineServiceStub(channel), (5,), new_tokens=2))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
