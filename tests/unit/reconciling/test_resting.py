"""While nothing changes, nothing is written."""

from datetime import timedelta

import pytest

from selfie.kube.objects import version_of


@pytest.mark.parametrize("step", ["rounds/00/seed", "rounds/01/generate"])
async def test_work_that_gets_no_further_costs_no_write(release, run_object, step):
    key = release.apply(run_object())
    await release.drive(
        key,
        until=lambda: any(work.call.step.path == step for work in release.services.works.values()),
    )
    for _ in range(3):
        # What it says of the work may be as old as its progress, half a minute.
        release.now += timedelta(minutes=1)
        await release.look(key)
        release.told.catch_up()
    before, calls = version_of(release.run(key)), release.api.calls.copy()
    for _ in range(5):
        release.now += timedelta(minutes=2)
        await release.look(key)
    assert version_of(release.run(key)) == before
    assert release.api.calls == calls


async def test_work_that_gets_further_is_told_twice_a_minute_at_most(release, run_object):
    key = release.apply(run_object())
    step = "rounds/00/seed"
    await release.drive(key, until=lambda: release.status_of(key).step == step)
    for _ in range(3):
        await release.look(key)
        release.told.catch_up()
    (work,) = [work for work in release.services.works.values() if work.call.step.path == step]
    work.total = 1000
    versions = set()
    for _ in range(120):
        release.now += timedelta(seconds=1)
        work.done += 1
        await release.look(key)
        release.told.catch_up()
        versions.add(version_of(release.run(key)))
    assert 3 <= len(versions) <= 5
