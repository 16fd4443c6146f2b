"""Suspended, cancelled, deleted, over: at any stage nothing is left, and nothing finished is lost."""

import json

import pytest

from release_kills import end_state
from selfie.artifacts.run_files import read_status
from selfie.kube.objects import CONFIG_MAP, DEPLOYMENT, POD, SELFIE_RUN, SERVICE, uid_of
from selfie.runs.conditions import condition_of
from selfie.runs.status import derived_reason
from simulated_release import SimulatedRelease
from simulated_services import START

STAGES = ["prepare", "seed", "publish", "serve", "evaluate", "generate", "score", "filter", "train"]
WITHIN = 60


def edit(release, key, **spec):
    release.api.edit(SELFIE_RUN, key.name, key.namespace, **spec)
    release.told.catch_up()


def at_stage(release, key, stage):
    status = release.status_of(key)
    return status.stage == stage and bool(release.services.live(uid_of(release.run(key))))


async def reach(release, key, stage):
    await release.drive(key, until=lambda: at_stage(release, key, stage))


def left(release):
    return [kind.kind for kind in (POD, DEPLOYMENT, SERVICE) for _ in release.api.of(kind)]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_suspended_run_holds_nothing_and_resumes_where_it_was(release, run_object, stage):
    undisturbed = SimulatedRelease()
    other = undisturbed.apply(run_object())
    await undisturbed.drive(other)

    key = release.apply(run_object())
    await reach(release, key, stage)
    published = dict(release.services.published)
    edit(release, key, suspend=True)
    await release.drive(key, until=lambda: release.is_released(key), passes=WITHIN)
    await release.look(key)
    release.told.catch_up()
    assert await release.look(key) is None
    status = release.status_of(key)
    assert derived_reason(status) == "Suspended"
    assert status.paused_since is not None
    edit(release, key, suspend=False)
    await release.drive(key)
    found, expected = end_state(release, key), end_state(undisturbed, other)
    assert found["files"] == expected["files"]
    assert published.items() <= release.services.published.items()
    assert max(release.services.published.values()) == max(release.services.begun.values()) == 1
    assert "Resumed" in release.recorded.reasons


@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancelled_run_ends_at_once_and_leaves_nothing(release, run_object, stage):
    key = release.apply(run_object())
    await reach(release, key, stage)
    edit(release, key, cancel=True)
    await release.drive(key, passes=WITHIN)
    assert derived_reason(release.status_of(key)) == "Cancelled"
    assert left(release) == []
    assert release.services.live(uid_of(release.run(key))) == []


async def test_a_run_that_is_cancelled_before_it_began_touches_nothing(release, run_object):
    key = release.apply(run_object(cancel=True))
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Cancelled"
    assert release.files == {}
    assert release.api.of(CONFIG_MAP) == []


async def test_a_run_that_is_suspended_before_it_began_touches_nothing_until_it_may(release, run_object):
    key = release.apply(run_object(suspend=True))
    assert await release.look(key) is None
    status = release.status_of(key)
    assert derived_reason(status) == "Suspended"
    assert status.observed_generation == 1
    assert release.files == {}
    await release.tick(1000)
    edit(release, key, suspend=False)
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Completed"


async def test_suspended_time_does_not_count_for_deadlines(release, run_object):
    key = release.apply(run_object(deadlines={"runSeconds": 600}, suspend=True))
    await release.look(key)
    await release.tick(10_000)
    edit(release, key, suspend=False)
    await reach(release, key, "generate")
    edit(release, key, suspend=True)
    await release.drive(key, until=lambda: release.is_released(key))
    await release.tick(10_000)
    edit(release, key, suspend=False)
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Completed"


async def test_a_deadline_that_has_passed_ends_the_run_and_leaves_nothing(release, run_object):
    key = release.apply(run_object(deadlines={"runSeconds": 20}))
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "RunDeadlineExceeded"
    assert left(release) == []


@pytest.mark.parametrize("stage", ["serve", "train"])
async def test_a_deleted_run_is_not_touched_and_its_children_go_with_it(release, run_object, stage):
    key = release.apply(run_object())
    await reach(release, key, stage)
    release.api.remove((SELFIE_RUN, key.namespace, key.name))
    for _ in range(3):
        writes = release.api.calls.copy()
        assert await release.look(key) is None or release.told.run(key) is not None
        await release.tick()
    assert await release.look(key) is None
    assert release.api.calls == writes
    assert left(release) == []
    assert release.api.of(CONFIG_MAP) == []


async def test_a_run_made_again_under_its_name_is_another_run(release, run_object):
    key = release.apply(run_object())
    await reach(release, key, "train")
    release.api.remove((SELFIE_RUN, key.namespace, key.name))
    release.apply(run_object())
    release.places.clear()
    await release.drive(key)
    begun = [name for name in release.services.begun if name[1] == "prepare"]
    assert len({uid for uid, *_ in begun}) == 2
    roots = {path.split("/prepare/")[0] for path in release.files if path.endswith("prepare/manifest.json")}
    assert len(roots) == 2


async def test_an_ended_run_goes_when_its_time_is_over_and_its_artifacts_stay(release, run_object):
    key = release.apply(run_object(ttlSecondsAfterFinished=300))
    await release.drive(key)
    wait = await release.look(key)
    assert wait is not None
    assert 200 < wait <= 300
    await release.tick(wait)
    await release.look(key)
    assert release.api.of(SELFIE_RUN) == []
    [path] = [path for path in release.files if path.endswith("/status.json")]
    conditions = {entry["type"]: entry["status"] for entry in json.loads(release.files[path])["conditions"]}
    assert conditions["Complete"] == "True"


async def test_an_ended_run_without_such_a_time_stays_and_is_left_alone(release, run_object):
    key = release.apply(run_object())
    await release.drive(key)
    await release.look(key)
    calls = release.api.calls.copy()
    await release.tick(10 * 3600)
    assert await release.look(key) is None
    assert release.api.calls == calls


async def test_what_reads_a_runs_root_finds_the_status_that_the_cluster_has(release, run_object):
    key = release.apply(run_object())
    await reach(release, key, "train")
    [path] = [path for path in release.files if path.endswith("/status.json")]
    root = path.removesuffix("/status.json")
    assert read_status(release.store(root)) == release.status_of(key)
    await release.drive(key)
    assert read_status(release.store(root)) == release.status_of(key)


async def test_a_stale_cache_of_an_ended_run_starts_nothing_anew(release, run_object):
    key = release.apply(run_object())
    await reach(release, key, "train")
    release.told.catch_up()
    stale = release.told.run(key)
    await release.drive(key)
    begun, objects = release.services.begun.copy(), len(release.api.objects)
    release.told._objects[SELFIE_RUN, key.namespace, key.name] = stale
    for _ in range(5):
        await release.look(key)
    assert release.services.begun == begun
    assert len(release.api.objects) == objects
    assert derived_reason(release.status_of(key)) == "Completed"


async def test_the_wait_for_a_first_turn_counts_for_nothing(run_object):
    release = SimulatedRelease()
    release.settings = release.settings.model_copy(update={"max_active_runs": 1})
    release.start_operator()
    first = release.apply(run_object(name="first"))
    second = release.apply(run_object(name="second", deadlines={"runSeconds": 150}))
    await release.look(first)
    await release.look(second)
    status = release.status_of(second)
    assert derived_reason(status) == "Queued"
    condition = condition_of(status.conditions, "Suspended")
    assert condition is not None
    assert condition.status == "True"
    assert release.now == START
    await release.drive(first, second)
    assert derived_reason(release.status_of(second)) == "Completed"


async def test_runs_take_turns_and_never_more_than_the_limit_are_active(run_object):
    release = SimulatedRelease()
    release.settings = release.settings.model_copy(update={"max_active_runs": 2})
    release.start_operator()
    keys = [release.apply(run_object(name=f"run-{number}")) for number in range(5)]
    most = 0
    for _ in range(800):
        for key in keys:
            await release.look(key)
        live = {uid for (uid, _, _), work in release.services.works.items() if work.state == "running"}
        most = max(most, len(live))
        await release.tick()
        if all(release.is_at_rest(key) for key in keys):
            break
    assert most == 2
    assert [derived_reason(release.status_of(key)) for key in keys] == ["Completed"] * 5
    ended = [release.status_of(key).completion_time for key in keys]
    assert ended == sorted(ended)


async def test_a_resumed_run_waits_for_its_turn_and_holds_nothing_meanwhile(run_object):
    release = SimulatedRelease()
    release.settings = release.settings.model_copy(update={"max_active_runs": 1})
    release.start_operator()
    first, second = (release.apply(run_object(name=name)) for name in ("first", "second"))
    await release.drive(first, second, until=lambda: at_stage(release, first, "generate"))
    edit(release, first, suspend=True)
    await release.drive(first, second, until=lambda: at_stage(release, second, "generate"))
    edit(release, first, suspend=False)
    await release.look(first)
    assert derived_reason(release.status_of(first)) == "Queued"
    assert release.is_released(first)
    assert release.status_of(first).rounds, "what is known of its rounds stays"
    await release.drive(first, second)
    assert derived_reason(release.status_of(first)) == "Completed"
    assert max(release.services.published.values()) == 1
