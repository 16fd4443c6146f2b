"""The status as it is written."""

import json
from datetime import UTC, datetime

import pytest

from selfie.runs.actions import Outcome, Verdict
from selfie.runs.conditions import MAX_MESSAGE
from selfie.runs.reporting import told
from selfie.runs.status import Failures, RoundStatus, RunStatus, object_of_status
from selfie_operator.reconciling.statuses import MAX_BYTES, size_of, status_object
from selfie_operator.reconciling.subject import Subject, status_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FOREIGN = {"type": "example.org/Approved", "status": "True", "reason": "ByHand", "lastTransitionTime": "x"}


def status(message="it runs", rounds=0):
    found = told(RunStatus(), Verdict(Outcome.ACTIVE, "Generating", message), generation=2, now=NOW)
    entries = tuple(
        RoundStatus(round=number, loss=0.123456789, breaches=("accuracy fell, by a lot",) * 8)
        for number in range(rounds)
    )
    failures = Failures(count=1, attempt=1, last_failure_time=NOW, message=message)
    return found.model_copy(update={"rounds": entries, "failures": failures})


def test_it_is_read_back_as_it_was_written():
    written = json.loads(json.dumps(status_object(None, status(rounds=3))))
    assert status_of({"status": written}) == status(rounds=3)


def test_nothing_to_write_is_seen_as_nothing():
    written = status_object(None, status(rounds=3))
    assert status_object(written, status_of({"status": written})) == written


def test_conditions_and_fields_of_others_stay():
    before = {**object_of_status(status()), "theirs": {"a": 1}}
    before["conditions"] = [FOREIGN, *before["conditions"]]
    written = status_object(before, status("something else"))
    assert FOREIGN in written["conditions"]
    assert written["theirs"] == {"a": 1}
    assert len([c for c in written["conditions"] if c["type"] == "Succeeded"]) == 1


def test_what_holds_no_longer_goes():
    before = object_of_status(status())
    assert "failures" in before
    assert "failures" not in status_object(before, status().model_copy(update={"failures": None}))


@pytest.mark.parametrize("letter", ["a", "ä", "語", "🦀"])
@pytest.mark.parametrize("rounds", [0, 20])
def test_it_never_grows_too_large(letter, rounds):
    foreign = {"conditions": [FOREIGN]}
    written = status_object(foreign, status(letter * MAX_MESSAGE, rounds))
    assert size_of(written) <= MAX_BYTES
    assert FOREIGN in written["conditions"]
    message = written["conditions"][0]["message"]
    assert message.endswith(letter)
    assert len(message) >= 128


def test_the_newest_rounds_are_the_last_to_go():
    much = {"conditions": [{**FOREIGN, "message": "x" * (MAX_BYTES - 6000)}]}
    written = status_object(much, status("m", rounds=20))
    assert size_of(written) <= MAX_BYTES
    numbers = [entry["round"] for entry in written["rounds"]]
    assert numbers[-1] == 19
    assert len(numbers) < 20


def test_a_bounded_status_is_not_written_again():
    written = status_object(None, status("語" * MAX_MESSAGE, rounds=20))
    assert status_object(written, status("語" * MAX_MESSAGE, rounds=20)) == written


@pytest.mark.parametrize(
    "broken", [{"attempt": -1}, {"conditions": [{"type": "Complete"}]}, "text", None, []]
)
def test_a_status_that_cannot_be_read_counts_as_none(broken):
    assert status_of({"status": broken}) == RunStatus()


def test_only_the_very_words_of_a_request_are_understood_in_a_specification_that_cannot_be_read():
    def subject(spec):
        return Subject({"metadata": {"name": "x"}, "spec": spec}, RunStatus())

    assert subject({"cancel": True, "rounds": "nonsense"}).asks("cancel")
    assert not subject({"cancel": "true"}).asks("cancel")
    assert not subject({"cancel": 1}).asks("cancel")
    assert not subject(["cancel"]).asks("cancel")
    assert not subject(None).asks("cancel")
