"""Waiting: for queues, capacity, services, the accelerator; and what deadlines make of it."""

import pytest

from selfie.runs import reasons
from selfie.runs.actions import StartStep
from selfie.runs.observed import ServiceObserved
from selfie.runs.operation_fields import Deadlines
from selfie.runs.status import derived_message, derived_reason

TRAIN = "rounds/01/train"


def condition(world, kind):
    return next(entry for entry in world.status.conditions if entry.type == kind)


@pytest.mark.parametrize(
    ("reason", "stalled"),
    [("Queued", "False"), *((reason, "True") for reason in sorted(reasons.STALLING))],
)
def test_work_that_has_not_begun_says_why_and_goes_on_by_itself(make_world, reason, stalled):
    world = make_world(pending={TRAIN: reason}).run(until=lambda w: (TRAIN, 1) in w.started)
    world.reconcile()
    assert derived_reason(world.status) == reason
    assert condition(world, "Stalled").status == stalled
    assert condition(world, "Succeeded").status == "Unknown"
    world.works[TRAIN, 1].state = "running"
    assert derived_reason(world.run().status) == "Completed"


def test_a_service_without_capacity_stalls_the_run(make_world, later):
    world = make_world().run(until=lambda w: derived_reason(w.status) == "WaitingForServices")
    observed = world.observe()
    lacking = ServiceObserved(ready=False, reason="WaitingForCapacity", message="0/3 nodes have a GPU")
    world.observe = lambda: later(observed, {"services": {"training": lacking}})
    world.reconcile()
    assert derived_reason(world.status) == "WaitingForCapacity"
    assert derived_message(world.status) == "prepare waits for training: 0/3 nodes have a GPU"


@pytest.mark.parametrize("reason", sorted(reasons.STALLING))
def test_work_whose_engine_cannot_come_back_says_so_keeps_its_attempt_and_goes_on(make_world, later, reason):
    world = make_world().run(until=lambda w: ("rounds/01/generate", 1) in w.started)
    observed, observe = world.observe(), world.observe
    assert observed.work.is_live
    engine = ServiceObserved(ready=False, reason=reason, message="engine-0, engine: no such image")
    world.observe = lambda: later(observed, {"services": {**observed.services, "engine": engine}})
    decided = world.reconcile()
    assert derived_reason(world.status) == reason
    assert condition(world, "Stalled").status == "True"
    assert "without its engine: engine-0, engine: no such image" in derived_message(world.status)
    assert decided.actions == ()
    assert "engine" in decided.services
    assert world.status.attempt == 1
    world.observe = observe
    world.reconcile()
    assert derived_reason(world.status) == "Generating"
    assert derived_reason(world.run().status) == "Completed"


@pytest.mark.parametrize(
    "beside",
    [
        {"scoring": ServiceObserved(ready=False, reason="WaitingForCapacity", message="no room")},
        {"engine": ServiceObserved(ready=False, message="no pod of it is ready yet")},
    ],
    ids=["a service that it does not need", "an engine that is on its way"],
)
def test_work_is_not_held_up_by(make_world, later, beside):
    world = make_world().run(until=lambda w: ("rounds/01/generate", 1) in w.started)
    observed = world.observe()
    world.observe = lambda: later(observed, {"services": {**observed.services, **beside}})
    world.reconcile()
    assert derived_reason(world.status) == "Generating"


def test_an_engine_with_other_weights_is_never_generated_from(make_world, later):
    world = make_world().run(until=lambda w: w.status.step == "rounds/01/generate")
    world.tick()
    observed = world.observe()
    services = {**observed.services, "engine": ServiceObserved(ready=True, digests={"policy": "0" * 64})}
    world.observe = lambda: later(observed, {"services": services})
    decided = world.look()
    assert decided.actions == ()
    assert "it holds policy 000000000000" in derived_message(decided.status)


def test_each_step_wants_only_the_services_that_it_needs(make_world):
    world, wanted = make_world(), {}
    while not world.is_at_rest():
        decided = world.reconcile()
        if decided.actions:
            wanted[decided.actions[0].step.name] = set(decided.services)
        world.tick()
    needed = {
        frozenset({"training"}): ("prepare", "seed", "publish", "train"),
        frozenset({"generation", "engine"}): ("serve", "evaluate-initial", "evaluate-samples", "generate"),
        frozenset({"scoring"}): ("evaluate-heldout", "evaluate-measures", "score"),
        frozenset({"filtering"}): ("filter",),
    }
    assert wanted == {name: services for services, names in needed.items() for name in names}


@pytest.mark.parametrize(
    ("engine", "gpu", "held"),
    [
        ("embedded", "separate", None),
        ("tgi", "separate", ("rounds/02/publish", "rounds/01/publish")),
        # Scoring workers would want the accelerator that the engine is on.
        ("tgi", "shared", None),
    ],
)
def test_an_engine_of_another_maker_is_held_against_the_policy_before_where_there_is_room(
    make_world, changed, three_rounds, engine, gpu, held
):
    generation = three_rounds.generation.model_copy(update={"engine": engine})
    spec = changed(three_rounds, generation=generation, gpu=gpu)
    world = make_world(spec).run(until=lambda w: "rounds/02/publish" in w.manifests)
    while not (decided := world.reconcile()).actions:
        world.tick()
    assert decided.actions[0].step.path == "rounds/02/serve"
    scoring = decided.services.get("scoring")
    found = scoring and tuple(scoring.weights[role].source.step for role in ("policy", "reference"))
    assert found == held
    assert ("previous" in decided.actions[0].inputs) == (held is not None)


def test_the_seeds_policy_is_held_against_the_model_that_it_was_trained_from(
    make_world, changed, three_rounds
):
    generation = three_rounds.generation.model_copy(update={"engine": "openai"})
    world = make_world(changed(three_rounds, generation=generation, gpu="separate"))
    world.run(until=lambda w: "rounds/00/publish" in w.manifests)
    while not (decided := world.reconcile()).actions:
        world.tick()
    assert decided.actions[0].inputs["previous"].source.step == "prepare"


def test_with_an_accelerator_of_its_own_the_engine_stays_until_the_next_generation(
    make_world, changed, three_rounds
):
    world, kept = make_world(changed(three_rounds, gpu="separate")), {}
    while not world.is_at_rest():
        decided = world.reconcile()
        for action in decided.actions:
            kept[action.step.path] = "engine" in decided.services
        world.tick()
    assert kept["rounds/01/evaluate-heldout"]
    assert kept["rounds/02/generate"]
    assert not kept["rounds/02/score"]
    assert not kept["rounds/03/evaluate-heldout"]


def test_with_accelerators_of_their_own_scoring_workers_load_while_samples_are_drawn(
    make_world, changed, three_rounds
):
    world, ahead = make_world(changed(three_rounds, gpu="separate")), {}
    while not world.is_at_rest():
        decided = world.reconcile()
        if (world.status.round, world.status.stage) == (1, "generate") and decided.services:
            ahead |= decided.services
        for action in decided.actions:
            if isinstance(action, StartStep) and action.step.path == "rounds/01/score":
                assert decided.services["scoring"] == ahead["scoring"]
                assert "engine" not in decided.services
        world.tick()
    assert {role: entry.source.step for role, entry in ahead["scoring"].weights.items()} == {
        "policy": "rounds/00/publish",
        "reference": "prepare",
    }


def test_with_accelerators_of_their_own_samples_are_scored_while_others_are_drawn(
    make_world, changed, three_rounds
):
    world = make_world(changed(three_rounds, gpu="separate")).run()
    assert set(world.ahead) == {f"rounds/0{number}/score" for number in (1, 2, 3)}
    assert derived_reason(world.status) == "Completed"


def test_with_one_accelerator_for_all_nothing_is_done_ahead(make_world, three_rounds):
    assert three_rounds.gpu == "shared"
    assert make_world().run().ahead == []


def test_nothing_is_done_ahead_by_workers_of_other_weights(make_world, changed, three_rounds, later):
    world = make_world(changed(three_rounds, gpu="separate"))
    world.run(until=lambda w: ("rounds/01/generate", 1) in w.started)
    observed = world.observe()
    others = ServiceObserved(ready=True, digests={"policy": "0" * 64, "reference": "1" * 64})
    world.observe = lambda: later(observed, {"services": {**observed.services, "scoring": others}})
    assert world.look().actions == ()


def test_nothing_is_started_ahead_whose_weights_are_not_there_yet(make_world, changed, three_rounds):
    world = make_world(changed(three_rounds, gpu="separate"))
    world.run(until=lambda w: w.status.step == "rounds/01/publish")
    # What serves next serves what is being published.
    assert "engine" not in world.look().services


def test_a_shared_accelerator_is_asked_for_only_when_it_was_left(make_world):
    world = make_world().run(until=lambda w: "rounds/01/generate" in w.manifests)
    assert "engine" in world.services
    decided = world.look()
    assert derived_reason(decided.status) == "WaitingForAccelerator"
    assert dict(decided.services) == {}
    world.carry_out(decided)
    world.tick()
    assert set(world.look().services) == {"scoring"}


def test_the_run_deadline_ends_the_run(make_world, changed, three_rounds):
    spec = changed(three_rounds, deadlines=Deadlines(run_seconds=30))
    world = make_world(spec).run()
    assert derived_reason(world.status) == "RunDeadlineExceeded"
    assert (world.status.completion_time - world.status.start_time).total_seconds() == 30
    assert world.is_released()


def test_the_stage_deadline_counts_each_stage_of_each_round_from_its_start(make_world, changed, three_rounds):
    spec = changed(three_rounds, deadlines=Deadlines(stage_seconds=20))
    assert derived_reason(make_world(spec).run().status) == "Completed"
    world = make_world(spec, pending={TRAIN: "ImageCannotBePulled"}).run()
    assert derived_reason(world.status) == "StageDeadlineExceeded"
    assert "the stage train took longer than spec.deadlines.stageSeconds (20)" in derived_message(
        world.status
    )


@pytest.mark.parametrize("reason", ["Queued", "WaitingForCapacity"])
def test_deadlines_stand_still_while_a_queue_or_capacity_is_waited_for(
    make_world, changed, three_rounds, reason
):
    limits = Deadlines(run_seconds=600, stage_seconds=30)
    world = make_world(changed(three_rounds, deadlines=limits), pending={TRAIN: reason})
    world.run(until=lambda w: (TRAIN, 1) in w.started)
    for _ in range(5):
        world.reconcile()
        world.tick(3600)
    world.works[TRAIN, 1].state = "running"
    world.run()
    assert derived_reason(world.status) == "Completed"
    assert world.status.paused_seconds == pytest.approx(5 * 3600, abs=5)


def test_deadlines_stand_still_while_the_run_is_suspended(make_world, changed, three_rounds):
    limited = changed(three_rounds, deadlines=Deadlines(run_seconds=600, stage_seconds=30))
    world = make_world(limited).run(until=lambda w: (TRAIN, 1) in w.started)
    world.spec = changed(limited, suspend=True)
    for _ in range(3):
        world.reconcile()
        world.tick(7200)
    world.spec = limited
    assert derived_reason(world.run().status) == "Completed"


def test_a_finished_run_is_looked_at_again_when_its_time_to_live_is_over(make_world, changed, three_rounds):
    world = make_world(changed(three_rounds, ttl_seconds_after_finished=3600)).run()
    passed = (world.now - world.status.completion_time).total_seconds()
    assert world.look().requeue_after_s == 3600 - passed


def test_a_pause_that_ends_unseen_is_counted_once(make_world):
    world = make_world(pending={TRAIN: "Queued"}).run(until=lambda w: (TRAIN, 1) in w.started)
    world.reconcile()
    world.tick(3600)
    world.works[TRAIN, 1].state = "running"
    world.tick()
    world.tick()
    assert TRAIN in world.manifests
    world.run()
    assert world.status.paused_seconds == pytest.approx(3600, abs=5)


def test_a_pause_in_one_stage_is_no_credit_for_the_next(make_world, changed, three_rounds):
    limited = changed(three_rounds, deadlines=Deadlines(stage_seconds=30))
    stuck = {TRAIN: "Queued", "rounds/01/publish": "ImageCannotBePulled"}
    world = make_world(limited, pending=stuck).run(until=lambda w: (TRAIN, 1) in w.started)
    world.reconcile()
    world.tick(3600)
    world.works[TRAIN, 1].state = "running"
    world.run(until=lambda w: w.is_at_rest(), passes=60)
    assert derived_reason(world.status) == "StageDeadlineExceeded"
    assert world.status.stage == "publish"
