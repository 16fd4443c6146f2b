"""The scoring service over a real port: a tiny policy against a tiny reference."""

import asyncio
import math
import threading
from pathlib import Path

import grpc
import pytest
import torch
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from transformers import AutoModelForCausalLM, AutoTokenizer

from selfie.artifacts.store import open_store
from selfie.artifacts.weights import directory_digest
from selfie.errors import DataCorrupted, Overloaded, Unavailable
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect, domain_errors, is_ready
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring.core import Scorer
from selfie.scoring.loading import Weights, load_scorer
from selfie.scoring.precision import error_bound
from selfie.scoring.servicer import SERVICE_NAME, scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc

from .conftest import CHAT, LAMBDA, HeldEngine, responses, score_request, serving

TEXTS = ["Paris is the capital of France.", "The sea is wide.", "Seven boats.", "7"]


def plain_logprobs(directory: Path, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [tokens, vocabulary] and targets [tokens, 1], by transformers alone, in float64."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    chat = [{"role": turn.role, "content": turn.content} for turn in CHAT]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids = tokenizer(prompt + text + "<|im_end|>", add_special_tokens=False, return_tensors="pt")["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64)
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    return logprobs[start - 1 : -1], ids[0, start:, None]


async def test_a_score_is_that_of_transformers_in_float64_within_the_stated_bound(
    stub, perturbed_checkpoint: Path, tiny_checkpoint: Path
):
    answer = await stub.Score(score_request(*TEXTS, per_token=True), timeout=30)
    for text, found in zip(TEXTS, answer.responses, strict=True):
        (policy, targets), (reference, _) = (
            plain_logprobs(directory, text) for directory in (perturbed_checkpoint, tiny_checkpoint)
        )
        expected = policy.gather(1, targets).sum().item(), reference.gather(1, targets).sum().item()
        mixed = ((1 + LAMBDA) * policy - LAMBDA * reference).log_softmax(-1)
        assert found.error_bound == error_bound(len(targets))
        assert abs(found.policy_logprob - expected[0]) < found.error_bound
        assert abs(found.reference_logprob - expected[1]) < found.error_bound
        assert found.reward == pytest.approx(0.1 * (expected[0] - expected[1]), abs=0.2 * found.error_bound)
        (extrapolated,) = found.extrapolated
        error = abs(extrapolated.logprob - mixed.gather(1, targets).sum().item())
        assert error < error_bound(len(targets), lam=LAMBDA)
        assert found.tokens == len(targets) == len(found.policy_token_logprobs)
        assert sum(found.reference_token_logprobs) == pytest.approx(expected[1], abs=1e-3)


async def test_an_answer_says_what_it_rests_on(stub, scorer: Scorer, tiny_checkpoint: Path):
    answer = await stub.Score(score_request("Paris"), timeout=30)
    assert answer.provenance.policy_digest == scorer.engine.policy_digest
    assert answer.provenance.reference_digest == directory_digest(tiny_checkpoint)
    assert answer.provenance.tokenizer_digest == ChatTokenizer(tiny_checkpoint).tokenizer_digest
    assert answer.provenance.precision == "exact"
    assert not answer.responses[0].policy_token_logprobs


async def test_ids_are_scored_as_they_are_and_equal_their_text(stub, tokenizer: ChatTokenizer):
    prompt = tokenizer.prompt_ids([{"role": "user", "content": CHAT[0].content}]).ids
    finished = tokenizer.response_ids("Seven boats.")
    request = scoring_pb2.ScoreRequest(
        prompt=scoring_pb2.PromptInput(prompt_ids=prompt),
        responses=[scoring_pb2.ResponseInput(response_ids=ids) for ids in (finished, finished[:-1])],
    )
    by_ids = (await stub.Score(request, timeout=30)).responses
    (by_text,) = (await stub.Score(score_request("Seven boats."), timeout=30)).responses
    assert by_ids[0].policy_logprob == pytest.approx(by_text.policy_logprob, abs=by_text.error_bound)
    assert by_ids[1].tokens == by_text.tokens - 1
    assert by_ids[1].policy_logprob > by_ids[0].policy_logprob


def compare_request(first: str, second: str, **options) -> scoring_pb2.CompareRequest:
    one, other = responses(first, second)
    return scoring_pb2.CompareRequest(
        prompt=scoring_pb2.PromptInput(messages=CHAT),
        first=one,
        second=other,
        options=scoring_pb2.ScoringOptions(**options),
    )


async def test_comparing_is_antisymmetric_and_agrees_with_the_scores(stub):
    one = await stub.Compare(compare_request(TEXTS[0], TEXTS[1]), timeout=30)
    other = await stub.Compare(compare_request(TEXTS[1], TEXTS[0]), timeout=30)
    assert one.margin == pytest.approx(-other.margin, abs=one.tie_band)
    assert one.probability + other.probability == pytest.approx(1, abs=one.tie_band)
    assert {one.preference, other.preference} == {scoring_pb2.PREFERENCE_FIRST, scoring_pb2.PREFERENCE_SECOND}
    assert one.margin == pytest.approx(one.first.reward - one.second.reward)
    assert one.probability == pytest.approx(1 / (1 + math.exp(-one.margin)))


async def test_equal_responses_are_a_tie(stub):
    answer = await stub.Compare(compare_request(TEXTS[0], TEXTS[0]), timeout=30)
    assert answer.preference == scoring_pb2.PREFERENCE_TIE
    assert answer.probability == 0.5


async def test_the_length_normalised_judge_has_a_margin_of_its_own(stub):
    mean = scoring_pb2.NORMALIZATION_MEAN
    summed = await stub.Compare(compare_request(TEXTS[0], TEXTS[2]), timeout=30)
    answer = await stub.Compare(compare_request(TEXTS[0], TEXTS[2], normalization=mean), timeout=30)
    assert answer.first.reward == pytest.approx(summed.first.reward / summed.first.tokens)
    assert answer.tie_band < summed.tie_band


async def test_ranking_is_by_reward_and_equal_ones_share_a_rank(stub):
    request = scoring_pb2.RankRequest(
        prompt=scoring_pb2.PromptInput(messages=CHAT), responses=responses(*TEXTS, TEXTS[1])
    )
    answer = await stub.Rank(request, timeout=30)
    rewards = [ranked.score.reward for ranked in answer.responses]
    assert rewards == sorted(rewards, reverse=True)
    assert sorted(ranked.index for ranked in answer.responses) == [0, 1, 2, 3, 4]
    ranks = {ranked.index: ranked.rank for ranked in answer.responses}
    assert ranks[1] == ranks[4]
    assert sum(ranked.best_probability for ranked in answer.responses) == pytest.approx(1)


def message(**fields) -> scoring_pb2.ScoreRequest:
    request = score_request("fine")
    request.MergeFrom(scoring_pb2.ScoreRequest(**fields))
    return request


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (message(responses=[scoring_pb2.ResponseInput()]), "responses[1]"),
        (message(responses=[scoring_pb2.ResponseInput(response_ids=[1] * 5000)]), "responses[1]"),
        (message(responses=[scoring_pb2.ResponseInput(response_ids=[100_000])]), "responses[1]"),
        (message(prompt=scoring_pb2.PromptInput(prompt_ids=[1])), "prompt"),
        (message(options=scoring_pb2.ScoringOptions(beta=-1)), "options.beta"),
        (message(options=scoring_pb2.ScoringOptions(lambdas=[99])), "options.lambdas[1]"),
        (message(options=scoring_pb2.ScoringOptions(normalization=9)), "options.normalization"),
    ],
)
async def test_what_cannot_be_scored_is_refused_with_the_fields_path(stub, request_, field: str):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Score(request_, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field in violated(caught.value)


def violated(error: grpc.aio.AioRpcError) -> list[str]:
    found = error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(found):
            break
    return [violation.field for violation in found.field_violations]


async def test_a_service_that_loads_says_so_and_is_not_ready(scorer: Scorer, tmp_path: Path):
    loaded = threading.Event()

    def load() -> Scorer:
        loaded.wait(20)
        return scorer

    service = scoring_service(load, replica=Replica(owner="t", open_store=open_store))
    server = RunningServer(ServerSettings(drain_seconds=1), service)
    starting = asyncio.create_task(server.start())
    while server.port == 0:
        await asyncio.sleep(0.01)
    async with connect(f"127.0.0.1:{server.port}") as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        assert not await is_ready(channel, SERVICE_NAME)
        with pytest.raises(Unavailable, match="loading"):
            async with domain_errors():
                await stub.Score(score_request("a"), timeout=10)
        loaded.set()
        await starting
        assert await is_ready(channel, SERVICE_NAME)
        assert (await stub.Score(score_request("a"), timeout=30)).responses[0].tokens == 2
    await server.stop()


async def test_thousands_of_mistakes_in_one_call_are_told_as_its_first_ones(stub):
    request = score_request("a")
    request.options.lambdas.extend([100.0] * 3000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Score(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "options.lambdas" in (caught.value.details() or "")


def test_a_directory_of_other_weights_is_not_served(tiny_checkpoint: Path):
    with pytest.raises(DataCorrupted, match="fetch the weights again"):
        load_scorer(
            Weights(tiny_checkpoint, "f" * 64), Weights(tiny_checkpoint), device="cpu", token_budget=64
        )


def test_a_policy_that_is_its_own_reference_is_loaded_once(tiny_checkpoint: Path):
    weights = Weights(tiny_checkpoint)
    scorer = load_scorer(weights, weights, device="cpu", token_budget=64)
    assert scorer.provenance.policy_digest == scorer.provenance.reference_digest


async def test_too_many_calls_at_once_are_told_to_come_back(scorer: Scorer, tokenizer: ChatTokenizer):
    engine = HeldEngine(scorer.engine)
    async with serving(Scorer(engine, tokenizer), "only", max_waiting_calls=1) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        await stub.Score(score_request("a"), timeout=30)
        waiting = asyncio.ensure_future(stub.Score(score_request("b"), timeout=30))
        await asyncio.to_thread(engine.held.wait, 20)
        with pytest.raises(Overloaded) as caught:
            async with domain_errors():
                await stub.Score(score_request("c"), timeout=30)
        assert caught.value.retry_after_s > 0
        engine.release.set()
        assert (await waiting).responses
