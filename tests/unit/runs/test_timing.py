"""When the next deadline passes."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from selfie.runs.operation_fields import Deadlines
from selfie.runs.status import RunStatus
from selfie.runs.timing import seconds_to_deadline

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATUS = RunStatus(start_time=NOW - timedelta(seconds=100), stage_start_time=NOW - timedelta(seconds=30))


@pytest.mark.parametrize(
    ("deadlines", "left"),
    [
        ({}, None),
        ({"runSeconds": 300}, 200),
        ({"stageSeconds": 300}, 270),
        ({"runSeconds": 300, "stageSeconds": 300}, 200),
        ({"runSeconds": 60}, 0),
    ],
)
def test_the_first_deadline_counts(deadlines, left):
    spec = SimpleNamespace(deadlines=Deadlines.model_validate(deadlines))
    assert seconds_to_deadline(spec, STATUS, NOW) == left


def test_time_that_the_run_could_not_use_puts_it_off():
    spec = SimpleNamespace(deadlines=Deadlines.model_validate({"runSeconds": 300}))
    paused = STATUS.model_copy(update={"paused_seconds": 40.0})
    assert seconds_to_deadline(spec, paused, NOW) == 240
