"""Failures, retries and pauses, all computed from what the status remembers."""

from datetime import timedelta

import pytest

from selfie.runs.status import derived_message, derived_reason

TRAIN = "rounds/01/train"
PASSING = {"message": "node went away\nlast line", "reason": "NodeLost", "retryable": True}
FINAL = {"message": "parity broken\nlast line", "reason": "ParityBroken", "retryable": False}


def test_a_failure_that_may_pass_is_tried_again_in_a_new_attempt(make_world):
    world = make_world(fails={(TRAIN, 1): PASSING}).run()
    assert derived_reason(world.status) == "Completed"
    assert [attempt for path, attempt in world.started if path == TRAIN] == [1, 2]
    assert world.manifests[TRAIN].attempt == 2
    assert world.shas() == make_world().run().shas()


def test_the_next_step_begins_again_at_attempt_one_without_failures(make_world):
    world = make_world(fails={(TRAIN, 1): PASSING}).run(until=lambda w: ("rounds/01/publish", 1) in w.started)
    assert (world.status.attempt, world.status.failures) == (1, None)


def test_pauses_between_attempts_double_from_ten_seconds(make_world):
    world = make_world(fails={(TRAIN, attempt): PASSING for attempt in (1, 2, 3)})
    pauses = []
    for attempt in (2, 3, 4):
        world.run(until=lambda w, attempt=attempt: w.status.attempt == attempt)
        began = world.now
        assert derived_reason(world.status) == "BackingOff"
        assert "node went away" in derived_message(world.status)
        world.run(until=lambda w, attempt=attempt: (TRAIN, attempt) in w.started)
        pauses.append((world.now - began).total_seconds())
    assert pauses == pytest.approx([10, 20, 40], abs=2)


def test_a_plan_says_when_the_pause_is_over(make_world):
    world = make_world(fails={(TRAIN, 1): PASSING}).run(until=lambda w: w.status.attempt == 2)
    failed_at = world.status.failures.last_failure_time
    assert world.look().requeue_after_s == pytest.approx(10 - (world.now - failed_at).total_seconds())


def test_a_restarted_planner_keeps_to_the_pause(make_world):
    world = make_world(fails={(TRAIN, 1): PASSING}).run(until=lambda w: w.status.attempt == 2)
    assert world.fork().look().actions == ()
    world.now += timedelta(seconds=11)
    assert [action.attempt for action in world.look().actions] == [2]


def test_retries_run_out_and_the_message_quotes_the_log(make_world, changed, three_rounds):
    fails = {(TRAIN, attempt): PASSING for attempt in (1, 2, 3)}
    world = make_world(changed(three_rounds, retries=2), fails=fails).run()
    assert derived_reason(world.status) == "RetriesExhausted"
    assert derived_message(world.status).endswith("node went away\nlast line")
    assert "3 attempts failed, and spec.retries is 2" in derived_message(world.status)
    assert world.is_released()


def test_a_failure_that_no_attempt_can_mend_ends_the_run_with_its_own_reason(make_world):
    world = make_world(fails={(TRAIN, 1): FINAL}).run()
    assert derived_reason(world.status) == "ParityBroken"
    assert world.status.is_terminal
    assert [attempt for path, attempt in world.started if path == TRAIN] == [1]
    states = {entry.type: entry.status for entry in world.status.conditions}
    assert (states["Succeeded"], states["Failed"], states["Stalled"]) == ("False", "True", "True")


def test_a_reason_that_a_condition_may_not_hold_becomes_step_failed(make_world):
    world = make_world(fails={(TRAIN, 1): {**FINAL, "reason": "no such file"}}).run()
    assert derived_reason(world.status) == "StepFailed"


def test_lowering_the_retries_does_not_stop_an_attempt_that_runs(make_world, changed, three_rounds):
    fails = {(TRAIN, 1): PASSING, (TRAIN, 2): PASSING}
    world = make_world(fails=fails).run(until=lambda w: (TRAIN, 3) in w.started)
    world.spec = changed(three_rounds, retries=0)
    assert derived_reason(world.run().status) == "Completed"


def test_work_that_fails_while_it_is_suspended_costs_no_retry(make_world, changed, three_rounds):
    world = make_world().run(until=lambda w: (TRAIN, 1) in w.started)
    world.spec = changed(three_rounds, suspend=True)
    world.works[TRAIN, 1].state = "failed"
    world.reconcile()
    assert world.status.failures is None


def test_work_that_succeeds_without_a_manifest_fails_after_a_minute(make_world):
    world = make_world().run(until=lambda w: (TRAIN, 1) in w.started)
    world.works[TRAIN, 1].state = "succeeded"
    world.reconcile()
    assert derived_reason(world.status) == "ManifestNotYetSeen"
    world.tick(59)
    world.reconcile()
    assert world.status.attempt == 1
    world.tick(2)
    world.reconcile()
    assert (world.status.attempt, world.status.failures.reason) == (2, "ManifestMissing")


def test_work_of_an_earlier_attempt_is_not_mistaken_for_the_present_one(make_world, later):
    world = make_world(fails={(TRAIN, 1): PASSING}).run(until=lambda w: w.works.get((TRAIN, 1)) is not None)
    world.tick()
    stale = world.observe()
    assert stale.work.state == "failed"
    world.reconcile()
    assert world.status.attempt == 2
    again = world.fork()
    again.observe = lambda: stale
    again.reconcile()
    assert again.status.failures.count == 1
