"""The filtering service over a real port and a real store."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from selfie.artifacts.manifests import Manifest, ManifestRef, publish, read_ref
from selfie.artifacts.rows import PAIR_SCHEMA
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store, open_store
from selfie.errors import InvalidInput
from selfie.filtering.dataset import filter_dataset
from selfie.filtering.messages import rules_of
from selfie.filtering.servicer import filtering_service
from selfie.rpc.channels import connect, domain_errors
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener
from selfie.v1 import artifacts_pb2, filtering_pb2, filtering_pb2_grpc

RULES = filtering_pb2.FilterRules(
    noisy_percent=25,
    smoothing=0.1,
    action=filtering_pb2.NOISE_ACTION_SMOOTH,
    cut=filtering_pb2.CUT_POLICY_DROP_CUT_WINNERS,
)


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    service = filtering_service(
        Replica(owner="filtering-test", open_store=store_opener((tmp_path.as_uri(),)))
    )
    server = RunningServer(ServerSettings(drain_seconds=1), service)
    await server.start()
    made = connect(f"127.0.0.1:{server.port}")
    yield made
    await made.close()
    await server.stop()


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> filtering_pb2_grpc.FilteringServiceStub:
    return filtering_pb2_grpc.FilteringServiceStub(channel)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "run").as_uri())


def candidate(name: str, **fields) -> filtering_pb2.CandidatePair:
    known = {"chosen_text": f"good {name}", "rejected_text": "bad", "margin": 1.0, "extrapolated_margin": 1.0}
    return filtering_pb2.CandidatePair(
        **{"id": name, "tie_band": 0.01, "prompt_digest": name, **known, **fields}
    )


async def test_pairs_come_back_labelled_with_their_counts(stub):
    request = filtering_pb2.FilterRequest(
        pairs=[
            candidate("a"),
            candidate("b", margin=0.001),
            candidate("c", extrapolated_margin=-0.5),
            candidate("d", chosen_finish=artifacts_pb2.FINISH_REASON_LENGTH),
            candidate("e", rejected_finish=artifacts_pb2.FINISH_REASON_LENGTH),
        ],
        rules=RULES,
    )
    answer = await stub.Filter(request, timeout=10)
    assert [pair.reason for pair in answer.pairs] == ["", "tie", "", "cut-winner", ""]
    assert [pair.noisy for pair in answer.pairs] == [False, False, True, False, False]
    assert [pair.soft_label for pair in answer.pairs] == [1.0, 1.0, 0.9, 1.0, 1.0]
    assert set(answer.pairs[2].suspicions) == {"low-confidence", "disagreement"}
    assert (answer.counts["pairs"], answer.counts["kept"], answer.counts["cut_winner"]) == (5, 3, 1)


async def test_a_margin_that_is_no_number_is_refused_by_its_field(stub):
    request = filtering_pb2.FilterRequest(
        pairs=[candidate("a"), candidate("b", margin=float("nan"))], rules=RULES
    )
    with pytest.raises(InvalidInput) as caught:
        async with domain_errors():
            await stub.Filter(request, timeout=10)
    assert caught.value.field == "pairs[1].margin"


@pytest.mark.parametrize("field", ["action", "cut"])
async def test_a_choice_that_was_not_made_is_refused(stub, field: str):
    rules = filtering_pb2.FilterRules()
    rules.CopyFrom(RULES)
    rules.ClearField(field)
    with pytest.raises(InvalidInput, match=field):
        async with domain_errors():
            await stub.Filter(filtering_pb2.FilterRequest(pairs=[candidate("a")], rules=rules), timeout=10)


def pair_row(number: int) -> dict:
    side = {"finish_reason": "stop", "policy_logprob": -1.0, "reference_logprob": -2.0}
    side |= {"extrapolated_logprob": -0.5, "tokens": 2, "reward": 0.1, "ids": [4, 2]}
    texts = {"chosen_text": f"good {number}", "rejected_text": "bad", "chosen_index": 1, "rejected_index": 0}
    margins = {
        "margin": 0.1 * number,
        "margin_mean": 0.1,
        "extrapolated_margin": 0.1 * number,
        "tie_band": 0.001,
    }
    sure = {
        "probability": 0.6,
        "extrapolated_probability": 0.6,
        "confidence": 0.2,
        "extrapolated_confidence": 0.2,
    }
    return {
        "prompt_id": f"p{number}",
        "messages": [{"role": "user", "content": "Hi"}],
        "prompt_ids": [1],
        "prompt_digest": f"{number:064x}",
        "truncated": False,
        "pair_id": f"p{number}/1-0",
        **{f"{which}_{name}": value for which in ("chosen", "rejected") for name, value in side.items()},
        **texts,
        **margins,
        **sure,
        "ids_from": "engine",
        "judge": "implicit",
        "pairing": "best_worst",
        "beta": 0.1,
        "lambda": 0.5,
        "normalization": "sum",
        "policy_digest": "a" * 64,
        "reference_digest": "b" * 64,
        "tokenizer_digest": "c" * 64,
        "precision": "exact",
    }


@pytest.fixture
def judged(store: Store) -> Iterator[ManifestRef]:
    """The manifest of a scoring step: twelve pairs of rising margins, the first a tie, in three shards."""
    loop = asyncio.new_event_loop()
    context = OperationContext(
        store=store, step="rounds/01/score", attempt=1, writer="s", run_uid="uid", loop=loop
    )
    shards = [[pair_row(number) for number in range(start, start + 4)] for start in (0, 4, 8)]
    files = tuple(
        context.write_shard(
            pa.Table.from_pylist(rows, schema=PAIR_SCHEMA), schema=PAIR_SCHEMA, group="pairs", index=index
        )
        for index, rows in enumerate(shards)
    )
    yield publish(store, context.manifest(files=files, inputs={"policy": "a" * 64, "input": "d" * 64}))
    loop.close()


def dataset_request(store: Store, source: ManifestRef, **fields) -> filtering_pb2.FilterDatasetRequest:
    return filtering_pb2.FilterDatasetRequest(
        request_id=str(uuid.UUID(int=5, version=4)),
        attempt=artifacts_pb2.Attempt(run_uri=store.uri, step="rounds/01/filter", number=1, run_uid="uid"),
        input=artifacts_pb2.ManifestRef(path=source.path, sha256=source.sha256),
        rules=RULES,
        **fields,
    )


async def finished(channel: grpc.aio.Channel, name: str) -> artifacts_pb2.StepResult:
    operations = operations_pb2_grpc.OperationsStub(channel)
    operation = await operations.WaitOperation(operations_pb2.WaitOperationRequest(name=name), timeout=20)
    result = artifacts_pb2.StepResult()
    assert operation.response.Unpack(result), operation.error
    return result


async def test_a_data_set_is_labelled_as_a_whole_and_keeps_what_it_leaves_out(channel, stub, store, judged):
    operation = await stub.FilterDataset(dataset_request(store, judged), timeout=10)
    result = await finished(channel, operation.name)
    manifest = read_ref(store, ManifestRef(result.manifest.path, result.manifest.sha256))
    rows = read_group(store, manifest, "pairs").to_pylist()
    assert [row["prompt_id"] for row in rows] == [f"p{number}" for number in range(12)]
    assert [row["kept"] for row in rows] == [False] + [True] * 11
    assert rows[0]["reason"] == "tie"
    # A quarter of the eleven that are no ties, though each shard has four: the threshold is over all.
    assert [row["noisy"] for row in rows] == [False] + [True] * 3 + [False] * 8
    assert [row["soft_label"] for row in rows[:5]] == [1.0, 0.9, 0.9, 0.9, 1.0]
    assert len({row["threshold"] for row in rows}) == 1
    assert rows[5]["chosen_ids"] == [4, 2]
    assert result.counts["kept"] == 11
    assert manifest.measures["noisy_share"] == pytest.approx(3 / 11)
    assert manifest.inputs == {"policy": "a" * 64, "input": judged.sha256}


async def test_starting_the_same_attempt_again_returns_what_is_there(channel, stub, store, judged):
    first = await stub.FilterDataset(dataset_request(store, judged), timeout=10)
    before = await finished(channel, first.name)
    again = await stub.FilterDataset(dataset_request(store, judged), timeout=10)
    assert again.done
    assert (await finished(channel, again.name)).manifest == before.manifest


async def test_shards_that_another_process_has_written_are_not_written_again(store, judged):
    def labelled_by(writer: str) -> Manifest:
        context = OperationContext(
            store=store,
            step="rounds/01/filter",
            attempt=1,
            writer=writer,
            run_uid="uid",
            loop=asyncio.get_running_loop(),
        )
        return filter_dataset(context, judged, rules_of(RULES))

    first, second = labelled_by("first"), labelled_by("second")
    assert second.files == first.files
    assert second.counts == first.counts


async def test_an_input_that_is_not_there_fails_the_operation_by_name(channel, stub, store, judged):
    absent = ManifestRef("rounds/09/score/manifest.json", judged.sha256)
    started = await stub.FilterDataset(dataset_request(store, absent), timeout=10)
    operations = operations_pb2_grpc.OperationsStub(channel)
    request = operations_pb2.WaitOperationRequest(name=started.name)
    ended = await operations.WaitOperation(request, timeout=20)
    assert ended.done
    assert ended.error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert "rounds/09/score" in ended.error.message


async def test_a_run_outside_the_allowed_roots_is_refused(stub, store, judged):
    request = dataset_request(store, judged)
    request.attempt.run_uri = "file:///etc"
    with pytest.raises(InvalidInput) as caught:
        async with domain_errors():
            await stub.FilterDataset(request, timeout=10)
    assert caught.value.field == "run_uri"
