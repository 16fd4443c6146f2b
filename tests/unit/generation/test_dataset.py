"""The batch call over a toy engine and a real store: shards, resumption, identity."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from selfie.artifacts.manifests import Manifest, ManifestRef, publish
from selfie.artifacts.rows import PROMPT_SCHEMA, SAMPLE_SCHEMA
from selfie.artifacts.shards import read_group, write_shard
from selfie.artifacts.store import Store, open_store
from selfie.errors import Cancelled, FailedPrecondition, InvalidInput, Unavailable
from selfie.generation.dataset import GROUP, DatasetJob, generate_dataset
from selfie.generation.engines import EngineIdentity, Sample, SamplingParameters, SeededPrompt
from selfie.generation.flow import Flow
from selfie.generation.seeds import derive_seeds
from selfie.models.chat import ids_digest
from selfie.rpc.operation_context import OperationContext

POLICY, OTHER, TOKENIZER, TEMPLATE = ("a" * 64, "f" * 64, "b" * 64, "c" * 64)
STEP = "rounds/01/generate"
ONE_AT_A_TIME = Flow(rows_at_once=1)


class ToyEngine:
    """Answers with ids made of the seed; a test may change who it is, or fail, before a call."""

    def __init__(self) -> None:
        self.who = EngineIdentity(POLICY, TOKENIZER, 64, "float32", "toy/1")
        self.asked: list[int] = []
        self.before_call: Callable[[int], None] = lambda number: None
        self.ids_from = "engine"

    async def identity(self) -> EngineIdentity:
        return self.who

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        self.before_call(len(self.asked))
        await asyncio.sleep(0)
        self.asked.append(sum(len(prompt.seeds) for prompt in prompts))
        return [[self._answer(seed) for seed in prompt.seeds] for prompt in prompts]

    def _answer(self, seed: int) -> Sample:
        return Sample((seed % 50, seed % 40), f"text {seed}", "stop", seed, self.ids_from)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/run")


@pytest.fixture
def engine() -> ToyEngine:
    return ToyEngine()


def prompt_rows(count: int) -> list[dict[str, object]]:
    return [
        {
            "prompt_id": f"p{place}",
            "messages": [{"role": "user", "content": "hello"}],
            "prompt_ids": [1 + place] * (2 + place % 3),
            "prompt_digest": ids_digest([1 + place] * (2 + place % 3)),
            "truncated": place == 0,
            "source": None,
        }
        for place in range(count)
    ]


def publish_prompts(store: Store, context: OperationContext, count: int = 10) -> ManifestRef:
    table = pa.Table.from_pylist(prompt_rows(count), schema=PROMPT_SCHEMA)
    path = "prepare/a1/prompts-round-01-00000-w.parquet"
    entry = write_shard(store, path, table, schema=PROMPT_SCHEMA, group="prompts-round-01", name="p.parquet")
    manifest = context.manifest(files=(entry,), inputs={"tokenizer": TOKENIZER}, template_digest=TEMPLATE)
    return publish(store, manifest.model_copy(update={"step": "prepare"}))


@pytest.fixture
async def job(store: Store) -> DatasetJob:
    return DatasetJob(
        prompts=publish_prompts(store, context_of(store)),
        group="prompts-round-01",
        policy_digest=POLICY,
        samples_per_prompt=2,
        parameters=SamplingParameters(0.7, 1.0, 8),
        random_seed=7,
        shard_rows=4,
        allow_retokenized=False,
    )


def context_of(store: Store, writer: str = "writer") -> OperationContext:
    return OperationContext(
        store=store, step=STEP, attempt=1, writer=writer, run_uid="uid", loop=asyncio.get_running_loop()
    )


def rows_of(store: Store, manifest: Manifest) -> list[dict[str, object]]:
    return read_group(store, manifest, GROUP).to_pylist()


async def test_every_prompt_gets_its_samples_in_order_with_derived_seeds(store, engine, job):
    context = context_of(store)
    manifest = await generate_dataset(context, job, engine, Flow())
    table = read_group(store, manifest, GROUP)
    assert table.schema.equals(SAMPLE_SCHEMA)
    expected = [
        (row["prompt_id"], index, seed)
        for row in prompt_rows(10)
        for index, seed in enumerate(derive_seeds(7, STEP, row["prompt_digest"], 2))
    ]
    assert [(row["prompt_id"], row["sample_index"], row["seed"]) for row in table.to_pylist()] == expected
    assert [entry.rows for entry in manifest.files] == [8, 8, 4]
    assert context.progressed == (20, 20)


async def test_the_manifest_says_what_was_sampled_from_what_and_how(store, engine, job):
    manifest = await generate_dataset(context_of(store), job, engine, Flow())
    assert manifest.weights_digest == POLICY
    assert manifest.template_digest == TEMPLATE
    assert manifest.inputs == {
        "policy": POLICY,
        "prompts": job.prompts.sha256,
        "template": TEMPLATE,
        "tokenizer": TOKENIZER,
    }
    assert manifest.parameters["engine"] == "toy/1"
    assert manifest.parameters["randomSeed"] == 7
    assert (manifest.counts["prompts"], manifest.counts["samples"]) == (10, 20)
    assert manifest.counts["truncated_prompts"] == 1
    assert manifest.measures["mean_tokens"] == 2.0
    assert manifest.measures["tokens_per_second"] > 0


async def test_samples_do_not_depend_on_the_layout_of_shards(store, engine, job):
    first = await generate_dataset(context_of(store), job, engine, Flow())
    elsewhere = context_of(store)
    elsewhere.attempt = 2
    second = await generate_dataset(elsewhere, replace(job, shard_rows=3), engine, ONE_AT_A_TIME)
    assert len(second.files) == 4
    assert rows_of(store, first) == rows_of(store, second)


async def test_after_a_crash_only_unfinished_shards_are_made(store, engine, job):
    def crash(number: int) -> None:
        if number == 2:
            raise Unavailable("the engine is gone")

    engine.before_call = crash
    with pytest.raises(Unavailable):
        await generate_dataset(context_of(store), job, engine, ONE_AT_A_TIME)
    assert engine.asked == [8, 8]

    engine.before_call = lambda number: None
    successor = context_of(store, writer="successor")
    manifest = await generate_dataset(successor, job, engine, ONE_AT_A_TIME)
    assert engine.asked == [8, 8, 4]
    assert ["successor" in entry.path for entry in manifest.files] == [False, False, True]
    assert manifest.counts["samples"] == 20
    assert len(rows_of(store, manifest)) == 20


async def test_a_stop_ends_the_work_and_keeps_the_finished_shards(store, engine, job):
    context = context_of(store)
    engine.before_call = lambda number: context.stop("cancelled on request") if number == 1 else None
    with pytest.raises(Cancelled):
        await generate_dataset(context, job, engine, ONE_AT_A_TIME)
    assert set(context.finished_shards(GROUP)) == {0, 1}


async def test_an_engine_with_other_weights_samples_nothing(store, engine, job):
    engine.who = replace(engine.who, weights_digest=OTHER)
    with pytest.raises(FailedPrecondition) as caught:
        await generate_dataset(context_of(store), job, engine, Flow())
    assert caught.value.reason == "WeightsMismatch"
    assert engine.asked == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"weights_digest": OTHER}, "WeightsMismatch"), ({"precision": "bfloat16"}, "EngineChanged")],
)
async def test_a_shard_during_which_the_engine_changed_is_thrown_away(store, engine, job, change, reason):
    def swap(number: int) -> None:
        if number == 1:
            engine.who = replace(engine.who, **change)

    engine.before_call = swap
    context = context_of(store)
    with pytest.raises(FailedPrecondition) as caught:
        await generate_dataset(context, job, engine, ONE_AT_A_TIME)
    assert caught.value.reason == reason
    assert set(context.finished_shards(GROUP)) == {0}


async def test_an_engine_with_another_tokenizer_is_refused(store, engine, job):
    engine.who = replace(engine.who, tokenizer_digest=OTHER)
    with pytest.raises(FailedPrecondition) as caught:
        await generate_dataset(context_of(store), job, engine, Flow())
    assert caught.value.reason == "TokenizerMismatch"


async def test_retokenized_responses_are_refused_unless_allowed_and_then_counted(store, engine, job):
    engine.ids_from = "retokenized"
    with pytest.raises(FailedPrecondition) as caught:
        await generate_dataset(context_of(store), job, engine, Flow())
    assert caught.value.reason == "RetokenizedNotAllowed"
    manifest = await generate_dataset(context_of(store), replace(job, allow_retokenized=True), engine, Flow())
    assert manifest.counts["retokenized"] == 20


async def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_sampled(store, engine, job):
    tight = replace(job, parameters=SamplingParameters(0.7, 1.0, 61))
    with pytest.raises(InvalidInput, match="ask for at most 60"):
        await generate_dataset(context_of(store), tight, engine, Flow())
    assert engine.asked == []


async def test_several_shards_are_under_way_at_once(store, engine, job):
    under_way, most = 0, 0
    answer = engine.sample

    async def slowly(*args, **kwargs):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return await answer(*args, **kwargs)

    engine.sample = slowly
    await generate_dataset(context_of(store), job, engine, Flow(rows_at_once=16))
    assert most == 2


async def test_the_engine_never_reports_more_progress_than_there_is_work(store, engine, job):
    seen = []
    context = context_of(store)
    report = context.progress
    context.progress = lambda done, total: (seen.append((done, total)), report(done, total))
    await generate_dataset(context, job, engine, ONE_AT_A_TIME)
    assert seen == [(0, 20), (8, 20), (16, 20), (20, 20)]
