"""The scorer under load: overload, callers that give up, data sets beside calls, and what it tells of it."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from selfie.artifacts.store import open_store
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect, is_ready
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring.calls import DEFAULT_LIMITS, OnlineLimits
from selfie.scoring.core import Scorer
from selfie.scoring.loading import Weights, load_scorer
from selfie.scoring.rows import Engine, Row
from selfie.scoring.servicer import SERVICE_NAME, scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc


def compare_request(number: int = 0) -> scoring_pb2.CompareRequest:
    return scoring_pb2.CompareRequest(
        prompt=scoring_pb2.PromptInput(text=f"Question {number}"),
        first=scoring_pb2.ResponseInput(text="Yes."),
        second=scoring_pb2.ResponseInput(text=f"No, {number}."),
    )


class GatedEngine:
    """The scorer's engine; waits at a gate before it scores, and keeps the rows of each call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: list[list[Row]] = []
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def score(self, rows: Sequence[Row], wanted: Any) -> Any:
        self.calls.append(list(rows))
        self.entered.set()
        self.gate.wait(30)
        return self._engine.score(rows, wanted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@asynccontextmanager
async def serving(scorer: Scorer, *, limits: OnlineLimits = DEFAULT_LIMITS) -> AsyncIterator[Any]:
    service = scoring_service(
        lambda: scorer, replica=Replica(owner="t", open_store=open_store), limits=limits
    )
    server = RunningServer(ServerSettings(drain_seconds=0), service)
    await server.start()
    async with connect(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await server.stop()


def stub_of(channel: grpc.aio.Channel) -> Any:
    return scoring_pb2_grpc.ScoringServiceStub(channel)


def told(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"selfie_scoring_{name}", labels) or 0.0


async def test_the_same_weights_on_both_sides_prefer_nothing(tiny_checkpoint: Path):
    weights = Weights(tiny_checkpoint)
    async with serving(load_scorer(weights, weights, device="cpu", token_budget=256)) as channel:
        found = await stub_of(channel).Compare(compare_request(), timeout=30)
        responses = [scoring_pb2.ResponseInput(text=text) for text in ("a", "b", "c")]
        prompt = scoring_pb2.PromptInput(text="Hi")
        options = scoring_pb2.ScoringOptions(lambdas=[0.5])
        request = scoring_pb2.RankRequest(prompt=prompt, responses=responses, options=options)
        ranking = await stub_of(channel).Rank(request, timeout=30)
    assert (found.preference, found.probability) == (scoring_pb2.PREFERENCE_TIE, 0.5)
    assert found.provenance.policy_digest == found.provenance.reference_digest
    assert [ranked.rank for ranked in ranking.responses] == [1, 1, 1]
    assert [ranked.best_probability for ranked in ranking.responses] == [pytest.approx(1 / 3)] * 3


async def test_calls_that_come_together_are_computed_together(scorer: Scorer, tokenizer: ChatTokenizer):
    engine = GatedEngine(scorer.engine)
    fill = told("batch_fill_count")
    async with serving(Scorer(engine, tokenizer)) as channel:
        engine.gate.clear()
        first = asyncio.ensure_future(stub_of(channel).Compare(compare_request(0), timeout=30))
        await asyncio.to_thread(engine.entered.wait, 20)
        others = [
            asyncio.ensure_future(stub_of(channel).Compare(compare_request(number), timeout=30))
            for number in range(1, 5)
        ]
        async with asyncio.timeout(20):
            while told("waiting_calls") < 5:
                await asyncio.sleep(0.01)
        engine.gate.set()
        await asyncio.gather(first, *others)
    assert [len(rows) for rows in engine.calls] == [2, 8]
    assert told("batch_fill_count") == fill + 2
    assert told("waiting_calls") == told("waiting_tokens") == 0


async def test_a_response_that_was_scored_before_is_not_computed_again(
    scorer: Scorer, tokenizer: ChatTokenizer
):
    engine = GatedEngine(scorer.engine)
    hits = told("remembered_total", result="hit")
    async with serving(Scorer(engine, tokenizer)) as channel:
        once = await stub_of(channel).Compare(compare_request(), timeout=30)
        again = await stub_of(channel).Compare(compare_request(), timeout=30)
    assert once == again
    assert len(engine.calls) == 1
    assert told("remembered_total", result="hit") == hits + 2


async def test_a_call_in_excess_is_refused_with_the_time_to_come_back_while_health_answers(
    scorer: Scorer, tokenizer: ChatTokenizer
):
    engine = GatedEngine(scorer.engine)
    async with serving(Scorer(engine, tokenizer), limits=OnlineLimits(max_waiting_calls=2)) as channel:
        engine.gate.clear()
        waiting = [
            asyncio.ensure_future(stub_of(channel).Compare(compare_request(number), timeout=30))
            for number in range(2)
        ]
        await asyncio.to_thread(engine.entered.wait, 20)
        async with asyncio.timeout(20):
            while told("waiting_calls") < 2:
                await asyncio.sleep(0.01)
        for number in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub_of(channel).Compare(compare_request(number), timeout=30)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            retry = error_details_pb2.RetryInfo()
            status = rpc_status.from_call(caught.value)
            assert any(detail.Unpack(retry) for detail in status.details)
            assert retry.retry_delay.ToMilliseconds() > 0
        assert await is_ready(channel, SERVICE_NAME)
        engine.gate.set()
        assert [answer.probability > 0 for answer in await asyncio.gather(*waiting)] == [True, True]


async def test_a_call_of_too_many_tokens_is_refused_by_its_field(scorer: Scorer):
    async with serving(scorer, limits=OnlineLimits(max_call_tokens=30)) as channel:
        request = scoring_pb2.ScoreRequest(
            prompt=scoring_pb2.PromptInput(prompt_ids=[1] * 10),
            responses=[scoring_pb2.ResponseInput(response_ids=[number] * 7) for number in range(3)],
        )
        with pytest.raises(grpc.aio.AioRpcError, match="send at most 30 in one call") as caught:
            await stub_of(channel).Score(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_calls_that_were_given_up_cost_no_computing_and_leave_nothing_behind(
    scorer: Scorer, tokenizer: ChatTokenizer
):
    engine = GatedEngine(scorer.engine)
    async with serving(Scorer(engine, tokenizer)) as channel:
        engine.gate.clear()
        kept = asyncio.ensure_future(stub_of(channel).Compare(compare_request(0), timeout=60))
        await asyncio.to_thread(engine.entered.wait, 20)
        for start in range(1, 401, 40):
            given_up = [
                stub_of(channel).Compare(compare_request(number), timeout=60)
                for number in range(start, start + 40)
            ]
            await asyncio.sleep(0.02)
            for call in given_up:
                call.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
        engine.gate.set()
        assert (await kept).probability > 0
        assert (await stub_of(channel).Compare(compare_request(999), timeout=30)).probability > 0
    assert told("waiting_calls") == 0
    assert sum(map(len, engine.calls)) < 100


CANCELLER = """
import asyncio, sys, grpc
from selfie.v1 import scoring_pb2, scoring_pb2_grpc

def request(number):
    text = scoring_pb2.ResponseInput(text=f"No, {number}.")
    prompt = scoring_pb2.PromptInput(text=f"Question {number}")
    other = scoring_pb2.ResponseInput(text="Yes.")
    return scoring_pb2.CompareRequest(prompt=prompt, first=text, second=other)

async def main(address, start, calls):
    async with grpc.aio.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        for first in range(start, start + calls, 50):
            made = [stub.Compare(request(first + number), timeout=60) for number in range(50)]
            await asyncio.sleep(0.02)
            for call in made:
                call.cancel()
            await asyncio.gather(*made, return_exceptions=True)
        await stub.Compare(request(-1), timeout=60)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


@pytest.mark.slow
async def test_memory_does_not_grow_with_calls_that_were_given_up(scorer: Scorer):
    """Ten thousand of them, as `SELFIE_CANCELLED=10000` asks for; a few hundred otherwise.

    They are made by a process of its own, as a client keeps some kilobytes of each call that it gives up.
    """
    wanted = int(os.environ.get("SELFIE_CANCELLED", "400"))
    service = scoring_service(
        lambda: scorer,
        replica=Replica(owner="t", open_store=open_store),
        limits=OnlineLimits(remembered_tokens=0),
    )
    server = RunningServer(ServerSettings(drain_seconds=0), service)
    await server.start()

    async def used_after(start: int) -> int:
        arguments = (f"127.0.0.1:{server.port}", str(start), str(wanted))
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", CANCELLER, *arguments)
        assert await client.wait() == 0
        return psutil.Process().memory_info().rss

    before, after = await used_after(0), await used_after(wanted)
    await server.stop()
    assert after - before < 16 * 2**20


async def test_what_it_rests_on_is_told_to_prometheus(scorer: Scorer):
    async with serving(scorer):
        found = {
            "precision": "exact",
            "policy": scorer.provenance.policy_digest,
            "reference": scorer.provenance.reference_digest,
            "calibration": "",
        }
        assert told("mode_info", **found) == 1
        assert told("shares_prompts") == 1
