"""Many replicas as one engine, while they fail, restart and change.

Whatever happens, every sample is there once and is the policy's own.
"""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from selfie.errors import FailedPrecondition, Unavailable
from selfie.generation.engines import SamplingParameters
from selfie.generation.retries import RetryLimits

from .conftest import OTHER, POLICY, drawn_by, told

SAMPLED = SamplingParameters(0.7, 1.0, 12)
TWO_TRIES = RetryLimits(attempts=2, seconds=5, first_wait_s=0.01, longest_wait_s=0.02)


async def sample(engine, prompts):
    return await engine.sample(prompts, SAMPLED, weights_digest=POLICY)


def seeds_of(standin):
    return sorted(generation["parameters"]["seed"] for generation in standin.generations)


async def test_all_samples_of_a_prompt_meet_one_replica_and_so_do_later_ones(tgi, prompts):
    standins = [await tgi.start(max_concurrent_requests=100) for _ in range(3)]
    await sample(tgi.engine(), prompts)
    first = [seeds_of(standin) for standin in standins]
    assert sum(len(seeds) for seeds in first) == 15
    for prompt in prompts:
        assert [len(set(prompt.seeds) & set(seeds)) for seeds in first].count(3) == 1
    await sample(tgi.engine(), prompts)
    assert [seeds_of(standin) for standin in standins] == [sorted(seeds * 2) for seeds in first]


async def test_samples_do_not_depend_on_who_draws_them(tgi, toy_model, prompts):
    for _ in range(3):
        await tgi.start()
    assert told(await sample(tgi.engine(), prompts)) == drawn_by(toy_model, POLICY, prompts, 12)


async def test_a_replica_that_has_gone_is_left_out_and_taken_in_again_when_it_is_back(
    tgi, toy_model, prompts
):
    gone, there = await tgi.start(), await tgi.start()
    engine = tgi.engine()
    await tgi.servers[0].stop()
    assert told(await sample(engine, prompts)) == drawn_by(toy_model, POLICY, prompts, 12)
    assert (len(gone.generations), len(there.generations)) == (0, 15)
    await tgi.servers[0].start()
    async with asyncio.timeout(20):
        while not gone.generations:
            # Whom a prompt goes to depends on their ports, so that it has to be another one each time.
            prompts = [replace(prompt, prompt_ids=(*prompt.prompt_ids, 1)) for prompt in prompts]
            await sample(engine, prompts)


async def test_only_replicas_with_the_policys_weights_are_sampled_from(tgi, toy_model, prompts):
    wrong, right = await tgi.start(OTHER), await tgi.start()
    engine = tgi.engine()
    assert (await engine.identity()).weights_digest == POLICY
    assert told(await sample(engine, prompts)) == drawn_by(toy_model, POLICY, prompts, 12)
    assert (len(wrong.generations), len(right.generations)) == (0, 15)


async def test_a_half_rolled_engine_is_nobody_for_a_caller_who_names_no_weights(tgi):
    await tgi.start(OTHER)
    await tgi.start()
    with pytest.raises(Unavailable, match="different weights"):
        await tgi.engine(weights="").identity()


async def test_a_replica_that_comes_back_with_other_weights_counts_for_nothing(tgi, toy_model, prompts):
    replicas = [await tgi.start(), await tgi.start()]
    for replica in replicas:
        replica.faults.slow_s = 0.1
    engine = tgi.engine()
    work = asyncio.create_task(sample(engine, prompts))
    # Whether both are asked depends on their ports.
    while not (asked := [place for place, replica in enumerate(replicas) if len(replica.generations) >= 2]):
        await asyncio.sleep(0.01)
    wrong = tgi.make(OTHER)
    await tgi.servers[asked[0]].restart(wrong.application)
    assert told(await work) == drawn_by(toy_model, POLICY, prompts, 12)


async def test_samples_of_a_server_that_can_no_longer_prove_itself_are_drawn_again(tgi, toy_model, prompts):
    replicas = [await tgi.start(), await tgi.start()]
    for replica in replicas:
        replica.faults.slow_s = 0.05
    engine = tgi.engine()
    work = asyncio.create_task(sample(engine, prompts))
    # Which of them is asked, and whether the other one is too, depends on their ports.
    while not any(replica.generations for replica in replicas):
        await asyncio.sleep(0.01)
    turncoat, steady = sorted(replicas, key=lambda replica: not replica.generations)
    # What balances before the pods sends the same connection's next request to another one.
    turncoat.model_id = f"/weights/{OTHER}"
    assert told(await work) == drawn_by(toy_model, POLICY, prompts, 12)
    wasted = {generation["parameters"]["seed"] for generation in turncoat.generations}
    assert wasted <= {generation["parameters"]["seed"] for generation in steady.generations}


async def test_when_nobody_is_left_with_the_weights_the_work_ends(tgi, prompts):
    standin = await tgi.start()
    standin.faults.slow_s = 0.05
    work = asyncio.create_task(sample(tgi.engine(limits=TWO_TRIES), prompts))
    while not standin.generations:
        await asyncio.sleep(0.01)
    standin.model_id = f"/weights/{OTHER}"
    with pytest.raises(FailedPrecondition) as caught:
        await work
    assert caught.value.reason == "WeightsMismatch"


async def test_an_engine_without_a_replica_may_still_get_one(tgi, prompts):
    standin = await tgi.start()
    await tgi.servers[0].stop()
    work = asyncio.create_task(sample(tgi.engine(), prompts))
    await asyncio.sleep(0.3)
    await tgi.servers[0].start()
    assert len(await work) == 5
    assert len(standin.generations) == 15


async def test_another_server_at_one_of_the_addresses_does_not_spoil_the_others(tgi, toy_model, prompts):
    await tgi.start()
    await tgi.start()
    await tgi.servers[0].restart(web.Application)
    assert told(await sample(tgi.engine(), prompts)) == drawn_by(toy_model, POLICY, prompts, 12)


async def test_another_kind_of_server_at_every_address_is_told(tgi, prompts):
    await tgi.start()
    await tgi.servers[0].restart(web.Application)
    with pytest.raises(FailedPrecondition, match="answered 404") as caught:
        await sample(tgi.engine(limits=TWO_TRIES), prompts)
    assert caught.value.reason == "EngineUnsuitable"
