"""How a job stands, case by case."""

from datetime import timedelta
from typing import Any

import pytest

from selfie.kube.objects import Object
from selfie.training.cluster.standing import (
    Seen,
    Standing,
    asks_for_pods,
    failure_of,
    finished_at,
    standing_of,
)
from selfie.training.job import LOST
from selfie.training.outcomes import Failure
from selfie.training.records import JobRecord, Refusal
from training_runs import NOW, asked_of, selfie_run

ASKED = asked_of(selfie_run())
RECORD = JobRecord(
    request_id=ASKED.request_id,
    program="prepare",
    attempt=ASKED.attempt,
    parameters={},
    state="running",
    created_at=NOW,
    changed_at=NOW,
)
PENDING = RECORD.changed(state="pending")
CANCELLED = RECORD.changed(state="cancelled")
REFUSED = PENDING.changed(refusal=Refusal(reason="PodRefused", message="no rights"))
ERROR = Failure(reason="ParityBroken", message="too far apart", retryable=False)


def job(*conditions: str, age_s: float = 5, reason: str = "BackoffLimitExceeded", **spec: Any) -> Object:
    began = (NOW - timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z")
    met = [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": "it failed",
            "lastTransitionTime": began,
        }
        for kind in conditions
    ]
    return {
        "metadata": {"name": "toy-train", "uid": "j", "creationTimestamp": began},
        "spec": spec,
        "status": {"conditions": met, "startTime": began},
    }


def pod(phase: str = "Running", name: str = "p1", **state: Any) -> Object:
    """``state`` is that of its container: running, waiting or terminated."""
    container = {"name": "program", "image": "selfie:1", "state": state}
    return {"metadata": {"name": name}, "status": {"phase": phase, "containerStatuses": [container]}}


def waiting(reason: str, message: str | None = "why") -> Object:
    return pod("Pending", waiting={"reason": reason, "message": message})


def ended(status: int, name: str = "p1", reason: str = "Error", at: str = "2026-03-01T12:00:00Z") -> Object:
    return pod("Failed", name, terminated={"exitCode": status, "reason": reason, "finishedAt": at})


def unschedulable() -> Object:
    found = pod("Pending")
    found["status"] = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
        ],
    }
    return found


def seen(record: JobRecord = RECORD, job: Object | None = None, *pods: Object, **more: Any) -> Seen:
    return Seen(record=record, now=NOW, job=job, pods=pods, **more)


@pytest.mark.parametrize(
    ("what", "state", "reason"),
    [
        (seen(RECORD, job(), pod(), published=True), "succeeded", ""),
        (seen(CANCELLED, None, published=True), "succeeded", ""),
        (seen(RECORD, job("Complete"), pod("Succeeded")), "succeeded", ""),
        (seen(CANCELLED), "cancelled", ""),
        (seen(CANCELLED, None, ended(143)), "cancelled", ""),
        (seen(CANCELLED, None, pod()), "running", ""),
        (seen(CANCELLED, job(), ended(143)), "running", ""),
        (seen(CANCELLED, None, failure=ERROR), "cancelled", ""),
        (seen(PENDING), "failed", LOST),
        (seen(REFUSED), "pending", "PodRefused"),
        (seen(RECORD), "failed", "JobDeleted"),
        (seen(RECORD, None, pod()), "running", ""),
        (seen(RECORD, None, ended(3), failure=ERROR), "failed", "ParityBroken"),
        (seen(RECORD, job(suspend=True)), "pending", "Queued"),
        (seen(RECORD, job(suspend=True), pod()), "pending", "Queued"),
        (seen(RECORD, job(suspend=False), pod()), "running", ""),
        (seen(RECORD, job()), "running", ""),
        (seen(RECORD, job(), pod("Pending")), "running", ""),
        (seen(RECORD, job(), waiting("ContainerCreating")), "running", ""),
        (seen(RECORD, job(), waiting("ImagePullBackOff")), "pending", "ImageCannotBePulled"),
        (seen(RECORD, job(), waiting("ErrImagePull")), "pending", "ImageCannotBePulled"),
        (seen(RECORD, job(), waiting("InvalidImageName")), "pending", "ImageCannotBePulled"),
        (seen(RECORD, job(), waiting("CreateContainerConfigError")), "pending", "PodCannotStart"),
        (seen(RECORD, job(), unschedulable()), "pending", "WaitingForCapacity"),
        (seen(RECORD, job(), pod(), unschedulable()), "pending", "WaitingForCapacity"),
        (seen(RECORD, job(), ended(137), pod(name="p2")), "running", ""),
        (seen(RECORD, job(age_s=600), ended(137)), "running", ""),
        (seen(RECORD, job(age_s=600)), "pending", "PodRefused"),
        (seen(RECORD, job("Suspended", age_s=600, suspend=False)), "running", ""),
        (seen(RECORD, job(), ended(3), failure=ERROR), "running", ""),
        (seen(RECORD, job("FailureTarget"), ended(3), failure=ERROR), "running", ""),
        (seen(RECORD, job("Failed"), ended(3), failure=ERROR), "failed", "ParityBroken"),
        (seen(RECORD, job("Failed"), ended(137, reason="OOMKilled")), "failed", "OOMKilled"),
        (seen(RECORD, job("Failed"), ended(139)), "failed", "PodFailed"),
        (seen(RECORD, job("Failed"), ended(2)), "failed", "InvalidInput"),
        (seen(RECORD, job("Failed")), "failed", "BackoffLimitExceeded"),
    ],
)
def test_a_job_stands(what: Seen, state: str, reason: str) -> None:
    found = standing_of(what)
    assert (found.state, found.reason) == (state, reason)


def test_why_it_waits_is_told_in_kubernetes_own_words() -> None:
    assert standing_of(seen(RECORD, job(), unschedulable())).message == "p1: 0/3 nodes"
    assert standing_of(seen(RECORD, job(), waiting("ErrImagePull"))).message == "p1: ErrImagePull: why"
    silent = standing_of(seen(RECORD, job(), waiting("ErrImagePull", None)))
    assert silent.message == "p1: ErrImagePull: selfie:1"


def test_a_refused_job_is_tried_again_after_a_minute() -> None:
    later = Seen(record=REFUSED, now=NOW + timedelta(seconds=61))
    assert standing_of(later).reason == LOST


@pytest.mark.parametrize(
    ("pods", "retryable", "said"),
    [
        ((ended(137, reason="OOMKilled"),), True, "raise spec.resources.training.memory"),
        ((ended(2),), False, "ended with status 2 (INVALID_INPUT)"),
        ((ended(5),), False, "found a later attempt"),
        ((ended(1),), True, "ended with status 1 (CRASHED)"),
        ((ended(139, reason="Error"),), True, "ended with status 139 (Error)"),
        ((), True, "it failed"),
    ],
)
def test_the_pod_says_why_a_program_left_no_word(
    pods: tuple[Object, ...], retryable: bool, said: str
) -> None:
    found = failure_of(job("Failed"), pods)
    assert found.retryable is retryable
    assert said in found.message


def test_of_several_pods_the_last_crash_is_told_and_how_many_there_were() -> None:
    pods = (
        ended(1, "early", at="2026-03-01T12:00:00Z"),
        ended(137, "late", reason="OOMKilled", at="2026-03-01T12:09:00Z"),
        ended(6, "peer", at="2026-03-01T12:09:30Z"),
        ended(143, "stopped", at="2026-03-01T12:09:40Z"),
    )
    found = failure_of(job("Failed"), pods)
    assert found.reason == "OOMKilled"
    assert "the pod late took" in found.message
    assert "it was started 4 times" in found.message


def test_a_job_that_was_lost_is_not_the_end() -> None:
    assert not standing_of(seen(PENDING)).is_the_end
    assert standing_of(seen(RECORD)).is_the_end
    assert not Standing("running").is_the_end


def test_a_job_says_when_it_ended() -> None:
    assert finished_at(job("Failed", age_s=5)) == NOW - timedelta(seconds=5)
    assert finished_at(job("Complete", age_s=7)) == NOW - timedelta(seconds=7)
    assert finished_at(job("FailureTarget", "SuccessCriteriaMet")) is None


def at_work(ready: int, *conditions: str, **spec: Any) -> Object:
    found = job(*conditions, age_s=600, **spec)
    found["status"]["ready"] = ready
    return found


@pytest.mark.parametrize(
    ("record", "found", "asks"),
    [
        (RECORD, at_work(1), False),
        (RECORD, at_work(2, parallelism=2), False),
        (RECORD, at_work(1, parallelism=2), True),
        (RECORD, at_work(0), True),
        (RECORD, job("Complete"), False),
        (RECORD, job("Failed"), True),
        (RECORD, job(suspend=True), False),
        (RECORD, None, True),
        (CANCELLED, at_work(1), True),
    ],
    ids=[
        "at work",
        "all at work",
        "half at work",
        "starting",
        "done",
        "failed",
        "queued",
        "gone",
        "cancelled",
    ],
)
def test_pods_are_only_asked_for_where_they_have_something_to_say(record, found, asks):
    assert asks_for_pods(record, found) == asks


def test_a_job_whose_pods_are_at_work_runs_although_nobody_has_looked_at_them():
    assert standing_of(seen(RECORD, at_work(1))) == Standing("running")
