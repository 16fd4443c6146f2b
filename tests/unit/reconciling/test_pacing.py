"""Looks at runs that only wait for work: so many in all, and none too late for a deadline."""

import pytest

from selfie_operator.keys import Key
from selfie_operator.reconciling.pacing import LOOK_AT_JOBS_S, LOOKS_A_SECOND, Pace, wait_s
from simulated_release import SimulatedRelease


def keys(count: int) -> list[Key]:
    return [Key("team", str(number)) for number in range(count)]


@pytest.mark.parametrize("work", LOOKS_A_SECOND)
def test_many_runs_at_work_are_looked_at_no_more_often_in_all(work):
    pace = Pace()
    for key in keys(1000) * 2:
        pace.seen(key, work)
    assert 1000 / pace.turn_s(work) == LOOKS_A_SECOND[work]


def test_runs_that_no_longer_work_leave_their_turns_to_others():
    pace = Pace()
    for key in keys(100):
        pace.seen(key, "job")
    for key in keys(60):
        pace.seen(key, None)
    for key in keys(80)[60:]:
        pace.seen(key, "call")
    assert (pace.turn_s("job"), pace.turn_s("call")) == (
        20 / LOOKS_A_SECOND["job"],
        20 / LOOKS_A_SECOND["call"],
    )


@pytest.mark.parametrize(
    ("work", "wanted", "turn", "deadline", "wait"),
    [
        ("call", 5, 0, None, 5),
        ("call", 5, 50, None, 50),
        ("call", 5, 50, 30, 31),
        ("call", 5, 50, 0, 5),
        ("job", 5, 0, None, LOOK_AT_JOBS_S),
        ("job", 5, 200, None, 200),
        ("job", 5, 200, 100, 101),
        ("job", 5, 200, 3, LOOK_AT_JOBS_S),
        ("job", 30, 0, None, 30),
    ],
)
def test_a_run_waits_for_its_turn_but_not_beyond_its_deadline(work, wanted, turn, deadline, wait):
    assert wait_s(work, wanted, turn_s=turn, deadline_s=deadline) == wait


async def test_a_run_that_trains_is_looked_at_as_a_job_is(run_object):
    release = SimulatedRelease()
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == "rounds/00/seed")
    for _ in range(4):
        wait = await release.look(key)
    assert wait == LOOK_AT_JOBS_S
