"""Whole runs over the toy world: undisturbed, crashed, lost, suspended, cancelled."""

import pytest

from selfie.runs.plan import plan
from selfie.runs.status import RunStatus, derived_message, derived_reason

ROUNDS = 3


@pytest.fixture
def goes_on_as():
    """Checks that a world goes on as the calm one did: the next two steps, or to the end."""

    def check(world, calm):
        goal = min(len(world.manifests) + 2, len(calm.manifests))
        ends = goal == len(calm.manifests)
        world.run(until=lambda w: w.is_at_rest() if ends else len(w.manifests) >= goal, passes=60)
        assert world.shas().items() <= calm.shas().items()
        assert set(world.published.values()) == {1}
        assert world.started == calm.started[: len(world.started)]

    return check


def test_a_run_of_three_rounds_publishes_every_step_once_in_order(make_world):
    world = make_world().run()
    rounds = [f"rounds/{n:02d}" for n in range(ROUNDS + 1)]
    measured = ("publish", "serve", "evaluate-samples", "evaluate-heldout", "evaluate-measures")
    first = ["prepare", f"{rounds[0]}/evaluate-initial"]
    seed = [*first, f"{rounds[0]}/seed", *(f"{rounds[0]}/{name}" for name in measured)]
    made = ("generate", "score", "filter", "train", *measured)
    assert list(world.manifests) == seed + [f"{where}/{name}" for where in rounds[1:] for name in made]
    assert set(world.published.values()) == {1}
    assert [attempt for _, attempt in world.started] == [1] * len(world.manifests)


def test_an_evaluator_is_fitted_before_anything_is_trained_and_rates_every_round(make_world, evaluated):
    world = make_world(evaluated).run()
    without = make_world().run()
    assert world.status.is_terminal
    assert list(world.manifests)[:4] == [
        "prepare",
        "rounds/00/evaluate-initial",
        "rounds/00/evaluator",
        "rounds/00/seed",
    ]
    rated = [path for path in world.manifests if path.endswith("evaluate-ratings")]
    assert rated == [f"rounds/{n:02d}/evaluate-ratings" for n in range(ROUNDS + 1)]
    assert set(world.manifests) - set(without.manifests) == {"rounds/00/evaluator", *rated}
    # It rates what is there: no policy of the run depends on it.
    assert without.shas().items() <= world.shas().items()


def test_a_crash_at_any_moment_of_its_fit_changes_nothing(make_world, disturb, goes_on_as, evaluated):
    calm = make_world(evaluated).run()
    world = make_world(evaluated).run(until=lambda w: w.status.step == "rounds/00/evaluator")
    crashes = 0
    while "rounds/00/evaluator" not in world.manifests:
        passing = world.fork()
        passing.reconcile()
        for moment in range(1, passing.disturbance.count + 1):
            crashed = world.fork(disturb(moment))
            assert crashed.reconcile() is None
            goes_on_as(crashed, calm)
            crashes += 1
        world.reconcile()
        world.tick()
    assert crashes > 1


def test_a_control_on_the_seeds_pairs_makes_none_of_its_own(make_world, three_rounds):
    document = three_rounds.model_dump(by_alias=True)
    document["training"]["pairs"] = "seed"
    for entry in document["rounds"]:
        entry["prompts"]["count"] = 12
    world = make_world(type(three_rounds).model_validate(document)).run()
    made = {path.rpartition("/")[2] for path in world.manifests if path.startswith("rounds/02")}
    assert made == {"train", "publish", "serve", "evaluate-samples", "evaluate-heldout", "evaluate-measures"}
    assert world.status.is_terminal


def test_the_end_is_complete_and_holds_nothing(make_world):
    world = make_world().run()
    conditions = {entry.type: entry.status for entry in world.status.conditions}
    assert conditions == {
        "Succeeded": "True",
        "Complete": "True",
        "Failed": "False",
        "Suspended": "False",
        "Stalled": "False",
        "Reconciling": "False",
        "ArtifactStoreReady": "True",
    }
    assert world.status.progress == "35/35"
    assert world.status.fraction == 1
    assert world.status.completion_time == world.status.conditions[0].last_transition_time
    assert world.is_released()


@pytest.mark.parametrize(
    ("rounds", "message"), [(1, "the only round is published"), (2, "all 2 rounds are published")]
)
def test_the_end_says_how_many_rounds_there_were(make_world, changed, three_rounds, rounds, message):
    world = make_world(changed(three_rounds, rounds=three_rounds.rounds[:rounds])).run()
    assert derived_message(world.status) == message


@pytest.mark.parametrize("gpu", ["shared", "separate"])
def test_sharing_the_accelerator_changes_nothing_but_who_holds_it_when(make_world, changed, evaluated, gpu):
    assert make_world(changed(evaluated, gpu=gpu)).run().shas() == make_world(evaluated).run().shas()


@pytest.mark.parametrize("saves_first", [True, False], ids=["saved-then-acted", "acted-then-saved"])
def test_a_crash_at_any_moment_changes_nothing(make_world, disturb, goes_on_as, saves_first):
    calm, world = make_world().run(), make_world(saves_first=saves_first)
    crashes = 0
    while not world.is_at_rest():
        passing = world.fork()
        passing.reconcile()
        for moment in range(1, passing.disturbance.count + 1):
            crashed = world.fork(disturb(moment))
            assert crashed.reconcile() is None
            goes_on_as(crashed, calm)
            crashes += 1
        world.reconcile()
        world.tick()
    assert crashes > 3 * len(calm.manifests)


@pytest.mark.parametrize("saves_first", [True, False], ids=["saved-then-acted", "acted-then-saved"])
def test_crashes_at_every_moment_of_one_run_change_nothing(make_world, disturb, saves_first):
    world = make_world(saves_first=saves_first, disturbance=disturb(always=True)).run()
    assert world.crashes > 3 * len(world.manifests)
    assert world.shas() == make_world().run().shas()
    assert set(world.published.values()) == {1}


def test_a_status_lost_in_the_middle_is_found_again_from_the_manifests(make_world):
    calm = make_world().run()
    world = make_world().run(until=lambda w: "rounds/02/score" in w.manifests)
    world.status = RunStatus()
    world.run()
    assert world.shas() == calm.shas()
    assert world.status.rounds == calm.status.rounds
    assert world.status.best == calm.status.best


def test_lost_work_is_taken_up_again_in_the_same_attempt(make_world):
    calm, world, lost = make_world().run(), make_world(), 0
    while not world.is_at_rest():
        world.reconcile()
        if world.now.second % 3 == 0:
            lost += world.lose_work()
        world.tick()
    assert lost > 10
    assert world.shas() == calm.shas()
    assert world.started == calm.started


def test_carrying_a_plan_out_twice_changes_nothing(make_world):
    calm, world = make_world().run(), make_world()
    while not world.is_at_rest():
        decided = world.look()
        world.carry_out(decided)
        world.carry_out(decided)
        world.tick()
    assert world.shas() == calm.shas()
    assert world.started == calm.started


def test_looking_twice_at_the_same_facts_gives_the_same_plan(make_world):
    world = make_world()
    while not world.is_at_rest():
        decided, observed = world.look(), world.observe()
        again = plan(world.spec, decided.status, observed, world.now)
        assert again.status == decided.status
        world.reconcile()
        world.tick()


def test_suspending_at_any_step_releases_everything_and_resuming_goes_on_the_same(
    make_world, changed, three_rounds, goes_on_as
):
    calm, active, suspended = make_world().run(), make_world(), changed(three_rounds, suspend=True)
    for path in calm.manifests:
        active.run(until=lambda w, path=path: (path, 1) in w.started)
        world = active.fork()
        world.spec = suspended
        world.run(until=lambda w: w.is_released(), passes=5)
        held = dict(world.manifests)
        for _ in range(3):
            decided = world.reconcile()
            world.tick(600)
        assert decided.requeue_after_s is None
        assert derived_reason(world.status) == "Suspended"
        assert world.is_released()
        assert world.manifests == held
        world.spec = three_rounds
        goes_on_as(world, calm)


def test_cancelling_at_any_step_is_the_end_and_releases_everything(make_world, changed, three_rounds):
    calm, active, cancelled = make_world().run(), make_world(), changed(three_rounds, cancel=True)
    for path in calm.manifests:
        active.run(until=lambda w, path=path: (path, 1) in w.started)
        world = active.fork()
        world.spec = cancelled
        held = dict(world.manifests)
        world.run(passes=5)
        assert derived_reason(world.status) == "Cancelled"
        assert world.manifests == held
        world.spec = three_rounds
        ended = world.status
        for _ in range(3):
            world.reconcile()
            world.tick()
        assert world.status == ended
        assert world.is_released()


def test_rounds_added_at_the_end_are_done_while_the_run_is_active(make_world, changed, three_rounds):
    two = changed(three_rounds, rounds=three_rounds.rounds[:2])
    world = make_world(two).run(until=lambda w: "rounds/02/train" in w.manifests)
    world.spec = three_rounds
    world.run()
    asked_at_once, added = make_world().run().manifests.keys(), {"rounds/03/prepare"}
    assert derived_reason(world.status) == "Completed"
    assert world.manifests.keys() == asked_at_once | added
    assert world.works["rounds/03/generate", 1].start.inputs["prompts"].source.step == "rounds/03/prepare"
    assert (
        list(world.manifests).index("rounds/03/prepare")
        == list(world.manifests).index("rounds/03/generate") - 1
    )


def test_an_unreachable_store_stalls_the_run_and_touches_nothing(make_world):
    world = make_world().run(until=lambda w: ("rounds/01/generate", 1) in w.started)
    ready, world.store = world.store, type(world.store)(ready=False, message="connection refused")
    services, started = dict(world.services), list(world.started)
    for _ in range(3):
        decided = world.reconcile()
        assert decided.actions == ()
        assert decided.services is None
    assert {e.type: (e.status, e.reason) for e in world.status.conditions}["Stalled"] == (
        "True",
        "StoreUnavailable",
    )
    assert world.services == services
    assert world.started == started
    world.store = ready
    assert world.run().shas() == make_world().run().shas()


@pytest.mark.parametrize("saves_first", [True, False], ids=["saved-then-acted", "acted-then-saved"])
def test_a_crash_while_cancelling_leaves_nothing_running(
    make_world, disturb, changed, three_rounds, saves_first
):
    active = make_world(saves_first=saves_first).run(until=lambda w: ("rounds/01/train", 1) in w.started)
    active.spec = changed(three_rounds, cancel=True)
    for moment in (1, 2, 3):
        world = active.fork(disturb(moment))
        assert world.reconcile() is None
        world.run(passes=5)
        assert derived_reason(world.status) == "Cancelled"
        assert world.is_released()
