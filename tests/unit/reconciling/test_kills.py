"""The operator is killed before and after every write, and the run does not notice."""

import os

import pytest

from release_kills import Killer, end_state
from simulated_release import SimulatedRelease

EVERY = int(os.environ.get("SELFIE_EVERY_MOMENT", "11"))
"""Every so many moments are tried one by one; 1 takes a minute."""
ONE_ROUND = [{"prompts": {"dataset": "prompts.jsonl", "count": 8}}]


async def run_through(run, *moments, always=False):
    release = SimulatedRelease()
    key = release.apply(run)
    killer = Killer(release, *moments, always=always)
    await release.drive(key, passes=3000)
    return end_state(release, key), killer


async def test_killed_once_at_every_moment_of_three_rounds_it_ends_as_if_it_never_was(run_object):
    undisturbed, counted = await run_through(run_object())
    disturbed, killer = await run_through(run_object(), always=True)
    assert killer.kills > counted.count / 2
    assert disturbed == undisturbed


@pytest.mark.slow
async def test_killed_at_a_single_moment_it_ends_as_if_it_never_was(run_object):
    undisturbed, counted = await run_through(run_object(rounds=ONE_ROUND))
    for moment in range(1, counted.count + 1, EVERY):
        disturbed, killer = await run_through(run_object(rounds=ONE_ROUND), moment)
        assert killer.kills == 1
        assert disturbed == undisturbed, f"killed at moment {moment}"
