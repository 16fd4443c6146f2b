"""What is told of a run that the planner is not asked about."""

from datetime import UTC, datetime, timedelta

import pytest

from selfie.runs import reasons
from selfie.runs.actions import Outcome, Verdict
from selfie.runs.conditions import condition_of
from selfie.runs.reporting import told
from selfie.runs.status import RunStatus, derived_message, derived_reason
from selfie.runs.timing import active_seconds

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=5)
QUEUED = Verdict(Outcome.SUSPENDED, reasons.QUEUED, "3 are before it")


def test_a_run_that_waits_for_its_turn_says_so_in_every_condition_that_people_look_at():
    status = told(RunStatus(), QUEUED, generation=4, now=NOW)
    assert (derived_reason(status), derived_message(status)) == ("Queued", "3 are before it")
    found = {entry.type: entry.status for entry in status.conditions}
    assert found == {
        "Succeeded": "Unknown",
        "Complete": "False",
        "Failed": "False",
        "Suspended": "True",
        "Stalled": "False",
        "Reconciling": "False",
    }
    assert {entry.observed_generation for entry in status.conditions} == {4}
    assert status.observed_generation == 4


def test_nothing_is_said_of_a_store_that_nobody_looked_at():
    assert (
        condition_of(told(RunStatus(), QUEUED, generation=1, now=NOW).conditions, "ArtifactStoreReady")
        is None
    )


def test_time_in_the_queue_does_not_count_and_begins_with_the_first_look():
    queued = told(RunStatus(), QUEUED, generation=1, now=NOW)
    assert queued.start_time == queued.paused_since == NOW
    assert active_seconds(queued, LATER) == 0
    stalled = Verdict(Outcome.STALLED, "InvalidRun", "mend it")
    later = told(queued, stalled, generation=1, now=LATER)
    assert later.paused_since is None
    assert active_seconds(later, LATER + timedelta(seconds=7)) == 7


@pytest.mark.parametrize("outcome", [Outcome.SUSPENDED, Outcome.STALLED])
def test_telling_the_same_twice_changes_nothing(outcome):
    verdict = Verdict(outcome, reasons.QUEUED, "why")
    first = told(RunStatus(round=2), verdict, generation=1, now=NOW)
    assert told(first, verdict, generation=1, now=LATER) == first


def test_a_run_that_is_cancelled_before_it_began_has_ended():
    status = told(RunStatus(), Verdict(Outcome.FAILED, reasons.CANCELLED, "x"), generation=1, now=NOW)
    assert status.is_terminal
    assert status.completion_time == NOW


def test_what_is_known_of_rounds_and_progress_stays():
    before = RunStatus(round=2, progress="5/9", attempt=3, step="rounds/02/train")
    after = told(before, QUEUED, generation=1, now=NOW)
    assert (after.round, after.progress, after.attempt, after.step) == (2, "5/9", 3, "rounds/02/train")
