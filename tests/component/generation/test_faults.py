"""A whole data set through TGI while everything that can happen to it does.

No sample is lost, none is counted twice, and none comes from other weights than the policy's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyarrow as pa
import pytest

from selfie.artifacts.manifests import publish
from selfie.artifacts.rows import PROMPT_SCHEMA
from selfie.artifacts.shards import read_group, write_shard
from selfie.artifacts.store import Store, open_store
from selfie.errors import FailedPrecondition
from selfie.generation.dataset import GROUP, DatasetJob, generate_dataset
from selfie.generation.engines import SamplingParameters
from selfie.generation.flow import Flow
from selfie.generation.retries import RetryingEngine, RetryLimits
from selfie.generation.seeds import derive_seeds, renewed_seed
from selfie.rpc.operation_context import OperationContext

from .conftest import OTHER, POLICY

STEP, LIMIT, PROMPTS, SAMPLES = "rounds/01/generate", 10, 30, 2
PATIENT = RetryLimits(attempts=40, seconds=60, first_wait_s=0.05, longest_wait_s=0.5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/run")


def context_of(store: Store) -> OperationContext:
    loop = asyncio.get_running_loop()
    return OperationContext(store=store, step=STEP, attempt=1, writer="w", run_uid="uid", loop=loop)


@pytest.fixture
async def job(store, tokenizer) -> DatasetJob:
    rows = []
    for number in range(PROMPTS):
        messages = [{"role": "user", "content": f"Question {number}?"}]
        prompt = tokenizer.prompt_ids(messages)
        row = {"prompt_id": f"p{number}", "messages": messages, "prompt_ids": prompt.ids}
        rows.append(row | {"prompt_digest": prompt.digest, "truncated": False, "source": None})
    table = pa.Table.from_pylist(rows, schema=PROMPT_SCHEMA)
    path = "prepare/a1/prompts-00000-w.parquet"
    entry = write_shard(store, path, table, schema=PROMPT_SCHEMA, group="prompts", name="prompts.parquet")
    prepared = context_of(store).manifest(files=(entry,)).model_copy(update={"step": "prepare"})
    return DatasetJob(
        prompts=publish(store, prepared),
        group="prompts",
        policy_digest=POLICY,
        samples_per_prompt=SAMPLES,
        parameters=SamplingParameters(0.7, 1.0, LIMIT),
        random_seed=7,
        shard_rows=10,
        allow_retokenized=False,
    )


Happens = Callable[..., Awaitable[None]]


async def overload(tgi) -> None:
    for standin in tgi.standins:
        standin.faults.overloaded += 8


async def dead_shard(tgi) -> None:
    standin = tgi.standins[0]
    standin.faults.shard += 1
    async with asyncio.timeout(20):
        while standin.healthy:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    standin.revive()


async def cut_connections(tgi) -> None:
    for standin in tgi.standins:
        standin.faults.reset += 3


async def restart(tgi) -> None:
    await tgi.servers[0].stop()
    await asyncio.sleep(0.3)
    await tgi.servers[0].start()


async def half_roll(tgi) -> None:
    wrong = tgi.make(OTHER)
    await tgi.servers[1].restart(wrong.application)
    tgi.standins.append(wrong)


async def roll_and_back(tgi) -> None:
    right, wrong = tgi.make(POLICY), tgi.make(OTHER)
    await tgi.servers[1].restart(wrong.application)
    await asyncio.sleep(0.3)
    await tgi.servers[1].restart(right.application)


ALL = (overload, dead_shard, cut_connections, restart, half_roll, roll_and_back)


@pytest.mark.parametrize(
    "happens", [*[(one,) for one in ALL], ALL], ids=lambda found: "+".join(one.__name__ for one in found)
)
async def test_a_data_set_is_whole_and_the_policys_own_whatever_happens(tgi, toy_model, store, job, happens):
    for _ in range(2):
        standin = await tgi.start(max_concurrent_requests=10)
        standin.faults.slow_s = 0.02
    engine = RetryingEngine(tgi.engine(), PATIENT)
    context = context_of(store)
    work = asyncio.create_task(generate_dataset(context, job, engine, Flow(rows_per_call=8, rows_at_once=24)))
    for one in happens:
        while len(tgi.standins[0].generations) < 3:
            await asyncio.sleep(0.01)
        await one(tgi)
    manifest = await work

    rows = read_group(store, manifest, GROUP).to_pylist()
    assert [(row["prompt_id"], row["sample_index"]) for row in rows] == [
        (f"p{number}", index) for number in range(PROMPTS) for index in range(SAMPLES)
    ]
    for row in rows:
        derived = derive_seeds(7, STEP, row["prompt_digest"], SAMPLES)[row["sample_index"]]
        assert row["seed"] in (derived, renewed_seed(derived))
        drawn = toy_model.draw(f"/weights/{POLICY}", row["prompt_ids"], seed=row["seed"], limit=LIMIT)
        assert tuple(row["response_ids"]) == drawn.ids
    assert context.progressed == (PROMPTS * SAMPLES,) * 2
    assert manifest.counts["samples"] == PROMPTS * SAMPLES


async def test_an_engine_that_was_rolled_on_in_the_middle_gives_nothing_more(tgi, store, job):
    standin = await tgi.start()
    standin.faults.slow_s = 0.02
    engine = RetryingEngine(tgi.engine(), PATIENT)
    work = asyncio.create_task(generate_dataset(context_of(store), job, engine, Flow(8, 16)))
    while len(standin.generations) < 10:
        await asyncio.sleep(0.01)
    await tgi.servers[0].restart(tgi.make(OTHER).application)
    with pytest.raises(FailedPrecondition) as caught:
        await work
    assert caught.value.reason == "WeightsMismatch"
