"""What the fake node says about pods."""

from typing import Any

import pytest

from cluster import pod_statuses
from cluster.pod_statuses import Exit

POD: dict[str, Any] = {
    "metadata": {"name": "p", "uid": "u"},
    "spec": {
        "initContainers": [{"name": "first", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
    },
}


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (3, "Failed", "Error")])
def test_the_exit_code_decides_the_phase(code: int, phase: str, reason: str) -> None:
    status = pod_statuses.finished(POD, Exit(code))
    assert status["phase"] == phase
    ended = [entry["state"]["terminated"] for entry in status["containerStatuses"]]
    assert [(entry["exitCode"], entry["reason"]) for entry in ended] == [(code, reason)] * 2


def test_a_running_pod_is_ready_and_what_runs_first_has_ended() -> None:
    status = pod_statuses.running(POD, address="10.88.0.2")
    conditions = {entry["type"]: entry["status"] for entry in status["conditions"]}
    assert conditions["Ready"] == "True"
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_an_evicted_pod_has_failed_whatever_its_program_said() -> None:
    status = pod_statuses.evicted(POD, Exit(0), message="low on memory")
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    disrupted = next(entry for entry in status["conditions"] if entry["type"] == "DisruptionTarget")
    assert disrupted["status"] == "True"
