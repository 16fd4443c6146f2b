"""Whose turn it is, at most so many at a time."""

import random

import pytest

from selfie_operator.reconciling.queueing import is_active, look_again_s, runs_before, told_before


def run(name, *, made=0, attempt=0, conditions=(), **spec):
    entries = [{"type": kind, "status": status} for kind, status in dict(conditions).items()]
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "creationTimestamp": f"2026-03-01T12:00:{made:02d}Z",
        },
        "spec": spec,
        "status": {"attempt": attempt, "conditions": entries},
    }


def active(name, **fields):
    return run(name, attempt=1, conditions={"Suspended": "False"}, **fields)


def test_the_first_come_go_first():
    runs = [run(name, made=made) for made, name in enumerate("abcd")]
    assert [runs_before(entry, runs, 2) for entry in runs] == [None, None, 2, 3]


def test_of_two_that_came_together_the_name_decides():
    runs = [run("b"), run("a")]
    assert [runs_before(entry, runs, 1) for entry in runs] == [1, None]


def test_one_that_is_active_keeps_its_place_against_any_that_came_before():
    late, early = active("late", made=9), run("early", made=1)
    assert runs_before(late, [late, early], 1) is None
    assert runs_before(early, [late, early], 1) == 0


@pytest.mark.parametrize(
    "other",
    [
        run("a", attempt=3, conditions={"Complete": "True"}),
        run("a", attempt=3, conditions={"Failed": "True"}),
        run("a", attempt=3, conditions={"Suspended": "True"}, suspend=True),
        active("a", suspend=True),
        active("a", cancel=True),
        run("a", suspend=True),
        run("a", conditions={"Stalled": "True", "ArtifactStoreReady": "True"}),
    ],
    ids=["complete", "failed", "suspended", "to be suspended", "cancelled", "never begun", "cannot begin"],
)
def test_one_that_holds_nothing_takes_no_place(other):
    mine = run("b", made=5)
    assert runs_before(mine, [other, mine], 1) is None


def test_one_that_is_being_deleted_takes_no_place():
    going, mine = active("a"), run("b")
    going["metadata"]["deletionTimestamp"] = "now"
    assert runs_before(mine, [going, mine], 1) is None


def test_one_that_waits_for_a_store_keeps_its_place():
    # All runs wait for it alike: passed over, all of them would begin when it is back.
    waits, mine = run("a", conditions={"Stalled": "True", "ArtifactStoreReady": "False"}), run("b")
    assert runs_before(mine, [waits, mine], 1) == 1


def test_one_that_was_suspended_waits_for_its_turn_again():
    resumed = run("a", attempt=2, conditions={"Suspended": "True"})
    assert not is_active(resumed)
    assert runs_before(resumed, [resumed, active("b")], 1) == 0
    assert runs_before(resumed, [resumed], 1) is None


def test_a_run_that_nobody_has_looked_at_is_not_active():
    fresh = run("a")
    del fresh["status"]
    assert not is_active(fresh)
    assert runs_before(fresh, [fresh], 1) is None


@pytest.mark.parametrize("seed", range(20))
def test_however_they_stand_no_more_begin_than_there_is_room_for(seed):
    chance = random.Random(seed)
    runs = [chance.choice([run, active])(f"r{number}", made=chance.randrange(60)) for number in range(40)]
    limit = chance.randrange(1, 30)
    busy = sum(is_active(entry) for entry in runs)
    begin = [entry for entry in runs if not is_active(entry) and runs_before(entry, runs, limit) is None]
    assert len(begin) == min(max(limit - busy, 0), len(runs) - busy)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (0, "it is the next one"),
        (1, "1 is before it"),
        (20, "20 are before it"),
        (21, "about 21 are before it"),
        (1234, "about 1200 are before it"),
    ],
)
def test_its_place_is_told_exactly_where_it_is_near(before, words):
    assert told_before(before) == words


def test_it_is_looked_at_the_sooner_the_sooner_its_turn_may_come():
    waits = [look_again_s(before) for before in (0, 1, 10, 100, 10_000)]
    assert waits == sorted(waits)
    assert waits[0] <= 2
    assert waits[-1] == 300
