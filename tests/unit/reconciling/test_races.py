"""Others write at the same time, watches lag, two operators act: nothing is done twice, nothing is lost."""

import copy
import random
from contextlib import suppress

import pytest

from kube_double import Told
from release_doubles import PODS
from release_kills import end_state
from selfie import errors
from selfie.kube.objects import SELFIE_RUN, uid_of
from selfie_operator.reconciling.building import assemble
from simulated_release import SimulatedRelease

ROUND = [{"prompts": {"dataset": "prompts.jsonl", "count": 8}}]
FOREIGN = {"type": "example.org/Approved", "status": "True", "reason": "ByHand"}


@pytest.fixture
async def undisturbed(run_object):
    release = SimulatedRelease()
    key = release.apply(run_object(rounds=ROUND))
    await release.drive(key)
    return end_state(release, key)


def as_if_nothing_was(release, key, undisturbed):
    found = end_state(release, key)
    found["status"]["conditions"] = [
        entry for entry in found["status"]["conditions"] if entry["type"] != FOREIGN["type"]
    ]
    return found == undisturbed


@pytest.mark.parametrize("seed", range(6))
async def test_a_third_of_all_writes_conflict_with_a_foreign_writer(run_object, undisturbed, seed):
    release, chance = SimulatedRelease(), random.Random(seed)
    key = release.apply(run_object(rounds=ROUND))
    written = 0

    def interfere(what):
        nonlocal written
        if what.startswith("replace status") and chance.random() < 0.3:
            written += 1
            run = release.run(key)
            status = copy.deepcopy(run.get("status") or {})
            others = [c for c in status.get("conditions", []) if c["type"] != FOREIGN["type"]]
            foreign = {**FOREIGN, "message": f"for the {written}. time"}
            run["status"] = {**status, "conditions": [*others, foreign]}
            release.api.touch(run)

    release.hooks.before = interfere
    await release.drive(key)
    assert written > 3
    assert as_if_nothing_was(release, key, undisturbed)
    [left] = [c for c in release.run(key)["status"]["conditions"] if c["type"] == FOREIGN["type"]]
    assert left["message"] == f"for the {written}. time"


@pytest.mark.parametrize("seed", range(6))
async def test_watches_that_lag_by_chance_cost_nothing_but_time(run_object, undisturbed, seed):
    release, chance = SimulatedRelease(), random.Random(seed)
    key = release.apply(run_object(rounds=ROUND))
    catch_up = release.told.catch_up
    release.told.catch_up = lambda: catch_up() if chance.random() < 0.3 else None
    await release.drive(key, passes=3000)
    assert as_if_nothing_was(release, key, undisturbed)


@pytest.mark.parametrize("seed", range(6))
async def test_two_operators_that_both_act_do_nothing_twice(run_object, undisturbed, seed):
    release, chance = SimulatedRelease(), random.Random(seed)
    key = release.apply(run_object(rounds=ROUND))
    tolds = [Told(release.api), Told(release.api)]
    both = [
        assemble(
            release.settings,
            PODS,
            (release.api, told, release.recorded),
            services=release.services,
            open_store=release.store,
            now=lambda: release.now,
        )
        for told in tolds
    ]
    for _ in range(3000):
        if release.is_at_rest(key):
            break
        for told, reconcile in zip(tolds, both, strict=True):
            if chance.random() < 0.6:
                told.catch_up()
            await reconcile(key)
        await release.tick()
    assert as_if_nothing_was(release, key, undisturbed)
    assert max(release.services.begun.values()) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_answers_that_get_lost_are_found_again(run_object, undisturbed, seed):
    release, chance = SimulatedRelease(), random.Random(seed)
    key = release.apply(run_object(rounds=ROUND))

    def lose(what):
        if chance.random() < 0.15 and not what.startswith("store"):
            raise errors.Unavailable("the answer was lost")

    release.hooks.after = lose
    for _ in range(3000):
        if release.is_at_rest(key):
            break
        with suppress(errors.Unavailable):
            await release.look(key)
        await release.tick()
    assert as_if_nothing_was(release, key, undisturbed)


async def test_a_user_who_suspends_between_look_and_act_is_heard(run_object):
    release = SimulatedRelease()
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == "rounds/01/filter")
    release.api.edit(SELFIE_RUN, key.name, key.namespace, suspend=True)
    begun = release.services.begun.copy()
    for _ in range(3):
        await release.look(key)  # the watch has not told of it
    assert release.services.begun == begun
    release.told.catch_up()
    await release.drive(key, until=lambda: release.is_released(key))
    assert release.status_of(key).attempt == 1
    assert release.status_of(key).failures is None


async def test_a_run_that_was_replaced_by_another_of_its_name_is_not_taken_for_it(run_object):
    release = SimulatedRelease()
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == "rounds/00/seed")
    old = uid_of(release.run(key))
    release.api.remove((SELFIE_RUN, key.namespace, key.name))
    release.api.put(SELFIE_RUN, {**run_object(), "metadata": {"name": "toy", "namespace": key.namespace}})
    begun = release.services.begun.copy()
    for _ in range(3):
        await release.look(key)  # the watch has not told of it
    assert release.services.begun == begun
    assert uid_of(release.run(key)) != old
    assert "status" not in release.run(key)


async def test_a_run_that_is_mended_while_it_is_called_wrong_is_just_looked_at_again(run_object):
    release = SimulatedRelease()
    key = release.apply(run_object(retries=-1))
    release.api.edit(SELFIE_RUN, key.name, key.namespace, retries=1)
    assert await release.look(key) == 0.5  # the watch has not told of it
    assert "status" not in release.run(key)
    release.told.catch_up()
    await release.drive(key)
    assert release.status_of(key).is_terminal


async def test_a_run_whose_watch_is_dead_is_asked_about_less_and_less(run_object):
    release = SimulatedRelease()
    key = release.apply(run_object(rounds=ROUND))
    catch_up, release.told.catch_up = release.told.catch_up, lambda: None
    await release.look(key)
    waits = [await release.look(key) for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    catch_up()
    await release.look(key)
    assert release.reconcile.outdated == {}
