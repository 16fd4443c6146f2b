"""Precision modes over a real port, as on a machine that multiplies bfloat16 faster than float32."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from selfie.artifacts.store import open_store
from selfie.models.chat import ChatTokenizer
from selfie.models.loading import load_policy
from selfie.rpc.channels import connect
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring import metrics
from selfie.scoring.core import Scorer
from selfie.scoring.engine import Checkpoint, PreferenceEngine
from selfie.scoring.precision import Machine, error_bound
from selfie.scoring.prompts import PromptCache
from selfie.scoring.servicer import scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc

TEXTS = [
    "Paris is the capital.",
    "The sea is wide.",
    "Seven boats.",
    "7",
    "Seven boats and a very long answer.",
]


@pytest.fixture
async def stub(
    perturbed_checkpoint: Path, tiny_checkpoint: Path
) -> AsyncIterator[scoring_pb2_grpc.ScoringServiceStub]:
    policy = Checkpoint(load_policy(perturbed_checkpoint), "a" * 64)
    reference = Checkpoint(load_policy(tiny_checkpoint), "b" * 64)
    engine = PreferenceEngine(policy, reference, prompts=PromptCache(1 << 24), machine=Machine(bfloat16=True))
    scorer = Scorer(engine, ChatTokenizer(tiny_checkpoint))
    service = scoring_service(lambda: scorer, replica=Replica(owner="t", open_store=open_store))
    server = RunningServer(ServerSettings(drain_seconds=1), service)
    await server.start()
    async with connect(f"127.0.0.1:{server.port}") as channel:
        yield scoring_pb2_grpc.ScoringServiceStub(channel)
    await server.stop()


async def rank(stub, precision: str) -> scoring_pb2.RankResponse:
    request = scoring_pb2.RankRequest(
        prompt=scoring_pb2.PromptInput(text="What is the capital of France?"),
        responses=[scoring_pb2.ResponseInput(text=text) for text in TEXTS],
        options=scoring_pb2.ScoringOptions(precision=f"PRECISION_{precision}"),
    )
    answer: scoring_pb2.RankResponse = await stub.Rank(request, timeout=60)
    return answer


async def test_the_mode_its_products_and_its_bound_travel_in_every_answer(stub):
    for precision, mode, products in (
        ("UNSPECIFIED", "exact", "float32"),
        ("EXACT", "exact", "float32"),
        ("BALANCED", "balanced", "float32"),
        ("FAST", "fast", "bfloat16"),
    ):
        answer = await rank(stub, precision)
        assert (answer.provenance.precision, answer.provenance.products) == (mode, products)
        assert answer.rescored_pairs == 0
        bounds = [one.score.error_bound for one in answer.responses]
        assert bounds == [error_bound(one.score.tokens, products=products) for one in answer.responses]
        assert {one.score.precision for one in answer.responses} == {mode}
        assert answer.tie_band == pytest.approx(0.2 * sum(sorted(bounds)[-2:]))


async def test_auto_ranks_as_exact_does_and_says_how_many_pairs_it_scored_again(stub):
    exact, auto = await rank(stub, "EXACT"), await rank(stub, "AUTO")
    assert [(one.index, one.rank) for one in auto.responses] == [
        (one.index, one.rank) for one in exact.responses
    ]
    assert (auto.provenance.precision, auto.provenance.products) == ("auto", "bfloat16")
    modes = [one.score.precision for one in auto.responses]
    assert auto.rescored_pairs > 0
    assert modes.count("exact") > 1
    assert auto.tie_band == exact.tie_band


async def test_the_mode_of_every_score_is_counted(stub):
    def counted() -> dict[str, float]:
        [family] = metrics.RESPONSES.collect()
        return {sample.labels["mode"]: sample.value for sample in family.samples if "_total" in sample.name}

    before = Counter(counted())
    modes: Counter[str] = Counter()
    for mode in ("FAST", "AUTO"):
        modes += Counter(one.score.precision for one in (await rank(stub, mode)).responses)
    assert Counter(counted()) - before == modes
    assert len(modes) == 2
