"""Jobs that have ended are removed once the store says how."""

import json
from datetime import timedelta

import pytest

from job_cluster import JOB
from job_worlds import World
from selfie.training.cluster.sweeping import Sweeper
from training_runs import (
    NAMESPACE,
)


def sweeper(world: World) -> Sweeper:
    return Sweeper(world.cluster, world.jobs, namespace=NAMESPACE, keep_s=15, now=lambda: world.now)


@pytest.mark.parametrize("end", ["Complete", "Failed"])
async def test_a_job_goes_once_it_has_ended_and_the_store_says_how(world: World, end: str) -> None:
    await world.create()
    if end == "Complete":
        world.publish()
    assert await sweeper(world).sweep() == 0
    world.cluster.end(end)
    assert await sweeper(world).sweep() == 0
    world.now += timedelta(seconds=16)
    assert await sweeper(world).sweep() == 1
    assert world.cluster.all(JOB) == []
    job = await world.create()
    assert job.state == ("succeeded" if end == "Complete" else "failed")
    assert world.cluster.all(JOB) == []


async def test_a_job_that_ended_well_and_published_nothing_stays(world: World) -> None:
    await world.create()
    world.cluster.end("Complete")
    world.now += timedelta(hours=1)
    assert await sweeper(world).sweep() == 0
    assert (await world.get()).state == "succeeded"


async def test_one_job_that_cannot_be_settled_keeps_no_other(world: World) -> None:
    await world.create()
    world.publish()
    world.cluster.end("Complete")
    broken = json.loads(json.dumps(world.cluster.only(JOB)))
    broken["metadata"] |= {"name": "aaa", "uid": "other", "annotations": {"selfie.dev/job": "jobs/no"}}
    world.cluster.put(JOB, broken)
    world.now += timedelta(seconds=16)
    assert await sweeper(world).sweep() == 1
    assert world.cluster.only(JOB)["metadata"]["name"] == "aaa"
