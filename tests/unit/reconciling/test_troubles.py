"""What goes wrong around a run: it says so, waits without hammering, and goes on by itself."""

import pytest

from release_doubles import NAMESPACE, foreign
from selfie import errors
from selfie.kube.objects import DEPLOYMENT, SELFIE_RUN, SERVICE, uid_of
from selfie.runs.conditions import condition_of, has_status
from selfie.runs.names import engine_name
from selfie.runs.status import derived_message, derived_reason

RUNNING = "rounds/01/generate"


def reason(release, key):
    return derived_reason(release.status_of(key))


def is_stalled(release, key):
    return has_status(release.status_of(key).conditions, "Stalled", "True")


def edit(release, key, **spec):
    release.api.edit(SELFIE_RUN, key.name, key.namespace, **spec)
    release.told.catch_up()


async def goes_on(release, key):
    await release.drive(key)
    assert reason(release, key) == "Completed"
    assert max(release.services.published.values()) == 1


async def looks(release, key, times=6):
    """Looks without that anything changes; returns the writes to the API server that it made."""
    for _ in range(2):
        await look_or_fail(release, key)
        await release.tick()
    before = sum(release.api.calls.values()) - _reads(release)
    for _ in range(times):
        await look_or_fail(release, key)
        await release.tick()
    return sum(release.api.calls.values()) - _reads(release) - before


async def look_or_fail(release, key):
    try:
        return await release.look(key)
    except errors.SelfieError:
        return None


def _works_on_samples(release, key):
    live = release.services.live(uid_of(release.run(key)))
    return release.status_of(key).step == RUNNING and bool(live)


def _reads(release):
    return sum(count for what, count in release.api.calls.items() if what.startswith(("get ", "list ")))


async def test_a_specification_that_cannot_be_carried_out_is_told_by_field_before_anything_is_there(
    release, run_object
):
    key = release.apply(run_object(training={"beta": "-1"}, model={"uri": "http://x/y"}))
    assert await release.look(key) is None
    status = release.status_of(key)
    assert (reason(release, key), is_stalled(release, key)) == ("InvalidRun", True)
    assert "spec.training.beta" in derived_message(status)
    assert status.observed_generation == 1
    assert not status.is_terminal
    assert len(release.api.objects) == 1
    assert release.files == {}


async def test_every_place_that_may_not_be_used_is_told(release, run_object):
    key = release.apply(run_object(model={"uri": "../m"}, seed={"dataset": "file:///etc/passwd"}))
    await release.look(key)
    message = derived_message(release.status_of(key))
    assert "spec.model.uri" in message
    assert "spec.seed.dataset" in message


async def test_a_mended_specification_goes_on(release, run_object):
    key = release.apply(run_object(resources={"engine": {"cpu": "lots"}}))
    await release.look(key)
    assert reason(release, key) == "InvalidRun"
    edit(release, key, resources={"engine": {"cpu": "2"}})
    await goes_on(release, key)
    assert release.status_of(key).observed_generation == 2


async def test_a_specification_that_went_wrong_on_the_way_stalls_the_run_and_loses_nothing(
    release, run_object
):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == RUNNING)
    edit(release, key, retries=-1)
    await release.look(key)
    assert reason(release, key) == "InvalidRun"
    assert release.status_of(key).rounds
    edit(release, key, retries=2)
    await goes_on(release, key)


@pytest.mark.parametrize(("asked", "expected"), [("cancel", "Cancelled"), ("suspend", "Suspended")])
async def test_a_run_whose_specification_cannot_be_read_can_still_be_stopped(
    release, run_object, asked, expected
):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == RUNNING)
    edit(release, key, retries=-1, **{asked: True})
    await release.drive(key, until=lambda: release.is_released(key), passes=60)
    assert reason(release, key) == expected


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE])
async def test_a_name_that_somebody_else_has_stalls_the_run_until_it_is_free(release, run_object, kind):
    key = release.apply(run_object())
    name = engine_name(uid_of(release.run(key)))
    release.api.put(kind, foreign(kind.kind, name))
    await release.drive(key, until=lambda: is_stalled(release, key))
    assert reason(release, key) == "NameTaken"
    assert name in derived_message(release.status_of(key))
    assert await looks(release, key) == 0
    assert await release.look(key) >= 30
    assert not [found for found in release.api.of(kind) if "ownerReferences" in found["metadata"]]
    release.api.remove((kind, NAMESPACE, name))
    await goes_on(release, key)


async def test_an_object_that_only_looks_like_the_runs_own_is_not_believed(release, run_object):
    key = release.apply(run_object())
    other = {"metadata": {"name": "other", "namespace": NAMESPACE, "uid": "another"}}
    name = engine_name(uid_of(release.run(key)))
    made = foreign("Deployment", name, other)
    made["metadata"]["labels"]["selfie.dev/run-uid"] = uid_of(release.run(key))
    made["metadata"]["ownerReferences"][0]["uid"] = uid_of(release.api.put(SELFIE_RUN, {**other, "spec": {}}))
    release.api.put(DEPLOYMENT, made)
    await release.drive(key, until=lambda: is_stalled(release, key))
    assert reason(release, key) == "NameTaken"


async def test_quota_that_refuses_a_deployment_is_told_and_waited_for(release, run_object):
    key = release.apply(run_object())

    def refuse(what, wanted):
        if what == "create deployments":
            raise errors.PermissionDenied("create deployments: exceeded quota")

    release.api.refuse = refuse
    await release.drive(key, until=lambda: is_stalled(release, key))
    assert reason(release, key) == "PodRefused"
    assert "exceeded quota" in derived_message(release.status_of(key))
    statuses = release.api.calls["replace status of selfieruns"]
    await looks(release, key)
    assert release.api.calls["replace status of selfieruns"] <= statuses + 1
    release.api.refuse = lambda what, wanted: None
    await goes_on(release, key)


async def test_pods_that_no_node_can_take_stop_the_clock(release, run_object):
    key = release.apply(run_object(deadlines={"stageSeconds": 60}))
    release.unschedulable = True
    await release.drive(key, until=lambda: is_stalled(release, key))
    assert reason(release, key) == "WaitingForCapacity"
    assert "0/1 nodes" in derived_message(release.status_of(key))
    assert await looks(release, key) == 0
    await release.tick(10_000)
    release.unschedulable = False
    await goes_on(release, key)


@pytest.mark.parametrize(
    "error",
    [
        errors.PermissionDenied("not among the callers"),
        errors.Unauthenticated("no token"),
        errors.OutOfDate("spec.training: is not what the run was started with"),
        errors.FailedPrecondition("NameTaken", "the Job belongs to somebody else"),
    ],
)
async def test_a_start_that_something_outside_stands_against_stalls_and_charges_nothing(
    release, run_object, error
):
    key = release.apply(run_object())

    def refuse(call):
        if call.step.name == "train":
            raise error

    release.services.refuse = refuse
    await release.drive(key, until=lambda: is_stalled(release, key))
    assert reason(release, key) == error.reason
    assert str(error) in derived_message(release.status_of(key))
    assert await looks(release, key) == 0
    release.services.refuse = lambda call: None
    await goes_on(release, key)
    assert all(attempt == 1 for _, _, attempt in release.services.begun)


async def test_a_start_that_is_wrong_for_good_fails_the_run(release, run_object):
    key = release.apply(run_object())

    def refuse(call):
        raise errors.InvalidInput("policy", "is unknown", "publish it")

    release.services.refuse = refuse
    await release.drive(key)
    assert reason(release, key) == "InvalidInput"
    assert "policy: is unknown; publish it" in derived_message(release.status_of(key))


async def test_a_services_own_mistake_is_tried_again_and_counted(release, run_object):
    key = release.apply(run_object(retries=2))
    release.services.refuse = lambda call: (_ for _ in ()).throw(errors.SelfieError("boom"))
    await release.drive(key)
    assert reason(release, key) == "RetriesExhausted"
    assert release.recorded.reasons.count("AttemptFailed") == 3


@pytest.mark.parametrize(
    "error", [errors.Overloaded("busy", retry_after_s=7), errors.Unavailable("gone"), errors.Cancelled("x")]
)
async def test_a_start_that_may_pass_is_tried_again_and_not_counted(release, run_object, error):
    key = release.apply(run_object(retries=0))
    failures = iter([error] * 4)

    def refuse(call):
        if found := next(failures, None):
            raise found

    release.services.refuse = refuse
    await release.drive(key, until=lambda: bool(release.services.begun))
    assert release.status_of(key).attempt == 1
    await goes_on(release, key)


async def test_an_overloaded_service_is_left_alone_for_as_long_as_it_asks(release, run_object):
    key = release.apply(run_object())
    release.services.refuse = lambda call: (_ for _ in ()).throw(errors.Overloaded("x", retry_after_s=99))
    assert await release.look(key) == 99


async def test_failed_attempts_are_tried_again_and_then_the_run_fails_with_the_last_words(
    release, run_object
):
    key = release.apply(run_object(retries=1))
    for attempt in (1, 2):
        release.services.fails["rounds/01/train", attempt] = {
            "message": "CUDA out of memory",
            "reason": "OutOfMemory",
        }
    await release.drive(key)
    assert reason(release, key) == "RetriesExhausted"
    assert "CUDA out of memory" in derived_message(release.status_of(key))
    assert release.recorded.reasons.count("AttemptFailed") == 2


@pytest.mark.parametrize("service", ["training", "generation", "scoring", "filtering"])
async def test_a_service_that_goes_away_and_comes_back_costs_nothing_but_time(release, run_object, service):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).stage == "publish")
    release.services.down = {service}
    for _ in range(40):
        await release.look(key)
        await release.tick()
    assert not release.status_of(key).is_terminal
    release.services.down = set()
    await goes_on(release, key)
    assert all(attempt == 1 for _, _, attempt in release.services.begun)


async def test_a_service_that_does_not_answer_is_waited_for_before_anything_is_started(release, run_object):
    key = release.apply(run_object())
    release.services.down = {"training"}
    await release.drive(key, until=lambda: release.now.second > 5)
    assert reason(release, key) == "WaitingForServices"
    assert "training service of the release" in derived_message(release.status_of(key))
    assert not release.services.begun


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE])
async def test_what_is_deleted_by_hand_is_made_again(release, run_object, kind):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: _works_on_samples(release, key))
    name = engine_name(uid_of(release.run(key)))
    release.api.remove((kind, NAMESPACE, name))
    release.told.catch_up()
    await goes_on(release, key)


async def test_an_unreachable_store_stalls_the_run_and_lets_alone_what_runs(release, run_object):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: _works_on_samples(release, key))

    def fail(path):
        raise OSError("no route to host")

    release.hooks.read = fail
    for _ in range(3):
        await release.look(key)
        release.told.catch_up()
    assert (reason(release, key), is_stalled(release, key)) == ("StoreUnavailable", True)
    assert has_status(release.status_of(key).conditions, "ArtifactStoreReady", "False")
    assert len(release.api.of(DEPLOYMENT)) == 1
    release.hooks.read = lambda path: None
    await goes_on(release, key)


@pytest.mark.parametrize(("asked", "expected"), [("cancel", "Cancelled"), ("suspend", "Suspended")])
async def test_a_run_can_be_stopped_while_its_store_is_away(release, run_object, asked, expected):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == "rounds/01/train")
    await release.look(key)
    for work in release.services.works.values():
        work.total = 10_000

    def fail(path):
        raise OSError("no route to host")

    release.hooks.read = fail
    release.hooks.before = lambda what: fail(what) if what.startswith("store") else None
    edit(release, key, **{asked: True})
    for _ in range(20):
        await look_or_fail(release, key)
        await release.tick()
    assert reason(release, key) == expected
    assert release.is_released(key)


async def test_a_damaged_manifest_stalls_the_run_with_its_place(release, run_object):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == RUNNING)
    [path] = [path for path in release.files if path.endswith("00/seed/manifest.json")]
    whole, release.files[path] = release.files[path], b"{"
    release.start_operator()
    with pytest.raises(errors.DataCorrupted):
        await release.look(key)
    assert reason(release, key) == "DataCorrupted"
    assert "seed/manifest.json" in derived_message(release.status_of(key))
    release.files[path] = whole
    release.told.catch_up()
    await goes_on(release, key)


async def test_a_run_that_breaks_the_operator_stalls_and_the_others_do_not_notice(release, run_object):
    bad, good = (release.apply(run_object(name=name)) for name in ("bad", "good"))
    uid = uid_of(release.run(bad))

    def refuse(call):
        if call.run_uid == uid:
            raise ZeroDivisionError

    release.services.refuse = refuse
    with pytest.raises(ZeroDivisionError):
        await release.look(bad)
    status = release.status_of(bad)
    assert (derived_reason(status), is_stalled(release, bad)) == ("Internal", True)
    assert "ZeroDivisionError" in derived_message(status)
    await release.drive(good)
    assert reason(release, good) == "Completed"
    release.services.refuse = lambda call: None
    release.told.catch_up()
    await release.drive(bad)
    assert reason(release, bad) == "Completed"


async def test_another_runs_files_at_the_same_place_stall_the_run(release, run_object):
    key = release.apply(run_object())
    release.hooks.before = lambda what: _sneak_in(release, what)
    await release.drive(key, until=lambda: is_stalled(release, key))
    assert reason(release, key) == "NameTaken"
    assert "holds another run" in derived_message(release.status_of(key))


def _sneak_in(release, what):
    if what == "store probe":
        uid = uid_of(release.api.of(SELFIE_RUN)[0])
        from selfie.runs.names import run_path

        release.files[f"s3://bucket/runs/{run_path(NAMESPACE, 'toy', uid)}/run.json"] = b'{"uid": "another"}'


async def test_a_store_without_exclusive_creation_is_refused(release, run_object):
    from kube_double import Hooks
    from memory_files import MemoryFiles

    class Careless(MemoryFiles):
        def create(self, path, data):
            self.replace(path, data)

    from selfie.artifacts.store import Store

    release.store = lambda uri: Store(uri, Careless(release.files, uri, Hooks()))
    release.start_operator()
    key = release.apply(run_object())
    await release.look(key)
    store = condition_of(release.status_of(key).conditions, "ArtifactStoreReady")
    assert store is not None
    assert (store.status, store.reason) == ("False", "ExclusiveCreateUnsupported")
    assert not release.services.begun


async def test_while_nothing_happens_nothing_is_asked_and_nothing_is_written(release, run_object):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == "rounds/01/train")
    await release.look(key)
    release.told.catch_up()
    for work in release.services.works.values():
        work.total = 10_000
    await release.look(key)
    release.told.catch_up()
    calls = release.api.calls.copy()
    for _ in range(10):
        await release.look(key)
    assert release.api.calls == calls
