"""What is worth an Event."""

from datetime import UTC, datetime

from selfie.runs.actions import Outcome, Verdict
from selfie.runs.reporting import told
from selfie.runs.status import Accuracy, Failures, RoundStatus, RunStatus
from selfie_operator.reconciling.transitions import transitions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def status(outcome=Outcome.ACTIVE, reason="Generating", message="why", **fields):
    found = told(RunStatus(), Verdict(outcome, reason, message), generation=1, now=NOW)
    return found.model_copy(update={"attempt": 1, "round": 1, "stage": "generate", **fields})


def events(before, after):
    return [(entry.type, entry.reason) for entry in transitions(before, after)]


def test_nothing_is_told_of_what_did_not_change():
    for outcome in (Outcome.ACTIVE, Outcome.SUSPENDED, Outcome.STALLED, Outcome.FAILED, Outcome.COMPLETE):
        assert events(status(outcome), status(outcome)) == []


def test_progress_is_no_transition():
    assert events(status(), status(progress="3/7", fraction=0.5, message="1 of 9")) == []


def test_a_stage_begins():
    [entry] = transitions(status(), status(stage="score"))
    assert (entry.type, entry.reason, entry.note) == ("Normal", "Scoring", "round 1: score")
    assert events(RunStatus(), status(stage="prepare", round=0)) == [("Normal", "Preparing")]


def test_the_same_stage_of_the_next_round_begins_too():
    assert ("Normal", "Generating") in events(status(), status(round=2))


def test_a_round_is_finished_with_its_accuracy():
    rounds = (RoundStatus(round=1, accuracy=Accuracy(value=0.8437, n=64)),)
    notes = [entry.note for entry in transitions(status(), status(round=2, rounds=rounds))]
    assert "round 1 is finished, with an accuracy of 84.4% of 64 pairs" in notes
    last = status(Outcome.COMPLETE, "Completed", rounds=rounds)
    assert events(status(), last) == [("Normal", "RoundFinished"), ("Normal", "Completed")]


def test_a_round_without_held_out_pairs_is_finished_too():
    notes = [entry.note for entry in transitions(status(), status(round=2, rounds=(RoundStatus(round=1),)))]
    assert "round 1 is finished" in notes


def test_a_crossed_gate_is_told_once():
    crossed = status(rounds=(RoundStatus(round=1, breaches=("accuracy fell",)),))
    [entry] = transitions(status(), crossed)
    assert (entry.type, entry.reason, entry.note) == ("Warning", "GateCrossed", "round 1: accuracy fell")
    assert events(crossed, crossed) == []


def test_a_failed_attempt_is_told_with_its_message():
    failures = Failures(count=1, attempt=1, last_failure_time=NOW, message="out of memory")
    failed = status(step="rounds/01/train", failures=failures, attempt=2)
    [entry] = transitions(status(step="rounds/01/train"), failed)
    assert (entry.type, entry.reason) == ("Warning", "AttemptFailed")
    assert entry.note == "rounds/01/train, attempt 1: out of memory"
    again = failures.model_copy(update={"count": 2, "attempt": 2})
    assert events(failed, status(failures=again)) == [("Warning", "AttemptFailed")]


def test_a_run_is_suspended_and_resumed():
    suspended = status(Outcome.SUSPENDED, "Suspended")
    assert events(status(), suspended) == [("Normal", "Suspended")]
    assert events(suspended, status()) == [("Normal", "Resumed")]


def test_a_run_waits_for_its_turn_and_gets_it():
    queued = status(Outcome.SUSPENDED, "Queued")
    assert events(RunStatus(round=1, stage="generate"), queued) == [("Normal", "Queued")]
    assert events(queued, status(Outcome.SUSPENDED, "Queued", "another place")) == []
    assert events(queued, status()) == [("Normal", "Admitted")]
    assert events(status(Outcome.SUSPENDED, "Suspended"), queued) == [("Normal", "Queued")]


def test_a_run_that_is_cancelled_while_suspended_is_not_resumed():
    failed = status(Outcome.FAILED, "Cancelled")
    assert events(status(Outcome.SUSPENDED, "Suspended"), failed) == [("Warning", "Cancelled")]


def test_a_stall_is_told_and_so_is_another_reason_for_it():
    stalled = status(Outcome.STALLED, "WaitingForCapacity")
    assert events(status(), stalled) == [("Warning", "WaitingForCapacity")]
    assert events(stalled, status(Outcome.STALLED, "NameTaken")) == [("Warning", "NameTaken")]
    assert events(stalled, status()) == []


def test_a_failed_run_is_told_once_though_it_is_also_stalled_for_good():
    assert events(status(), status(Outcome.FAILED, "StepFailed")) == [("Warning", "StepFailed")]


def test_of_a_run_that_has_ended_nothing_more_is_told():
    over = status(Outcome.COMPLETE, "Completed")
    assert events(over, over.model_copy(update={"round": 2})) == []
