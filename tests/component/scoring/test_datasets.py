"""Data sets through a scorer behind a real port, into a real store."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from selfie.artifacts.manifests import ManifestRef, publish, read_ref
from selfie.artifacts.rows import SAMPLE_SCHEMA
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store, open_store
from selfie.models.chat import ChatTokenizer
from selfie.rpc.operation_context import OperationContext
from selfie.scoring.core import Scorer
from selfie.v1 import artifacts_pb2, scoring_pb2, scoring_pb2_grpc

from .conftest import LAMBDA, HeldEngine, score_request, serving

TEXTS = ["Paris is the capital of France.", "The sea is wide.", "Seven boats.", "7"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "run").as_uri())


def samples(scorer: Scorer, tokenizer: ChatTokenizer, prompts: int) -> list[dict]:
    rows = []
    for number in range(prompts):
        messages = [{"role": "user", "content": f"Please write {number} sentences."}]
        prompt = tokenizer.prompt_ids(messages)
        for index, text in enumerate((TEXTS[number % 2], TEXTS[2])):
            rows.append(
                {
                    "prompt_id": f"p{number}",
                    "messages": messages,
                    "prompt_ids": prompt.ids,
                    "prompt_digest": prompt.digest,
                    "truncated": False,
                    "sample_index": index,
                    "seed": number,
                    "response_text": text,
                    "response_ids": tokenizer.response_ids(text),
                    "ids_from": "engine",
                    "finish_reason": "stop",
                    "policy_digest": scorer.engine.policy_digest,
                    "engine": "toy",
                }
            )
    return rows


@pytest.fixture
def sampled(store: Store, scorer: Scorer, tokenizer: ChatTokenizer) -> Iterator[ManifestRef]:
    """The manifest of a generation step: six prompts, two responses each."""
    loop = asyncio.new_event_loop()
    context = OperationContext(
        store=store, step="rounds/01/generate", attempt=1, writer="g", run_uid="uid", loop=loop
    )
    rows = samples(scorer, tokenizer, 6)
    table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    entry = context.write_shard(table, schema=SAMPLE_SCHEMA, group="samples", index=0)
    yield publish(store, context.manifest(files=(entry,)))
    loop.close()


def dataset_request(store: Store, source: ManifestRef, scorer: Scorer) -> scoring_pb2.ScoreDatasetRequest:
    return scoring_pb2.ScoreDatasetRequest(
        request_id=str(uuid.UUID(int=7, version=4)),
        attempt=artifacts_pb2.Attempt(run_uri=store.uri, step="rounds/01/score", number=1, run_uid="uid"),
        input=artifacts_pb2.ManifestRef(path=source.path, sha256=source.sha256),
        group="samples",
        kind=scoring_pb2.DATASET_KIND_SAMPLES,
        policy=artifacts_pb2.Weights(step="rounds/00/publish", digest=scorer.engine.policy_digest),
        reference=artifacts_pb2.Weights(step="prepare", digest=scorer.engine.reference_digest),
        beta=0.1,
        **{"lambda": LAMBDA},
        normalization=scoring_pb2.NORMALIZATION_SUM,
        judge=scoring_pb2.JUDGE_IMPLICIT,
        measure_divergence=True,
        random_seed=3,
        shard_rows=2,
    )


async def waited(channel: grpc.aio.Channel, name: str) -> operations_pb2.Operation:
    request = operations_pb2.WaitOperationRequest(name=name)
    return await operations_pb2_grpc.OperationsStub(channel).WaitOperation(request, timeout=40)


async def test_a_data_set_goes_from_samples_to_pairs(channel, stub, store, sampled, scorer):
    started = await stub.ScoreDataset(dataset_request(store, sampled, scorer), timeout=10)
    ended = await waited(channel, started.name)
    result = artifacts_pb2.StepResult()
    assert ended.response.Unpack(result), ended.error
    manifest = read_ref(store, ManifestRef(result.manifest.path, result.manifest.sha256))
    pairs = read_group(store, manifest, "pairs").to_pylist()
    assert result.counts["pairs"] == len(pairs) == 6
    for pair in pairs:
        assert pair["margin"] > pair["tie_band"] > 0
        gain = (pair["chosen_policy_logprob"] - pair["chosen_reference_logprob"]) * 0.1
        assert pair["chosen_reward"] == pytest.approx(gain)
        assert pair["policy_digest"] == scorer.engine.policy_digest
    assert result.measures["divergence"] > 0
    assert [entry.rows for entry in manifest.group("responses")] == [4, 4, 4]


async def test_another_process_goes_on_where_the_first_one_was_stopped(
    store, sampled, scorer, tokenizer: ChatTokenizer
):
    request = dataset_request(store, sampled, scorer)
    first, second = HeldEngine(scorer.engine), HeldEngine(scorer.engine)
    async with serving(Scorer(first, tokenizer), "first") as channel:
        started = await scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDataset(request, timeout=10)
        await asyncio.to_thread(first.held.wait, 20)
        cancel = operations_pb2.CancelOperationRequest(name=started.name)
        await operations_pb2_grpc.OperationsStub(channel).CancelOperation(cancel, timeout=10)
        first.release.set()
        ended = await waited(channel, started.name)
        assert ended.error.code == grpc.StatusCode.CANCELLED.value[0]
    second.release.set()
    async with serving(Scorer(second, tokenizer), "second") as channel:
        started = await scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDataset(request, timeout=10)
        result = artifacts_pb2.StepResult()
        assert (await waited(channel, started.name)).response.Unpack(result)
    manifest = read_ref(store, ManifestRef(result.manifest.path, result.manifest.sha256))
    writers = [entry.path.rsplit("-", 1)[1] for entry in manifest.group("responses")]
    assert writers == ["first.parquet", "second.parquet", "second.parquet"]
    assert second.rows_by_call == [4, 4]
    assert result.counts["pairs"] == 6


async def test_an_online_call_is_answered_between_the_batches_of_a_data_set(
    store, sampled, scorer, tokenizer: ChatTokenizer
):
    engine = HeldEngine(scorer.engine)
    async with serving(Scorer(engine, tokenizer), "only", max_waiting_calls=1) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        started = await stub.ScoreDataset(dataset_request(store, sampled, scorer), timeout=10)
        await asyncio.to_thread(engine.held.wait, 20)
        calls = [asyncio.ensure_future(stub.Score(score_request("a"), timeout=30)) for _ in range(2)]
        # There is room for one: that the other is refused shows that it waits behind the batch.
        refused, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert refused.pop().exception().code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        engine.release.set()
        assert (await waiting.pop()).responses
        assert (await waited(channel, started.name)).done
    assert engine.rows_by_call == [4, 4, 1, 4]
