"""How a job stands, from its Job, its pods and what they have left in the store: pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from selfie.artifacts.exits import Exit
from selfie.kube.objects import Object, is_going, name_of
from selfie.runs import reasons
from selfie.training.job import LOST, State
from selfie.training.outcomes import Failure
from selfie.training.records import JobRecord

_CANNOT_PULL: Final = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
    }
)
_CANNOT_START: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_PODLESS_S = 15
"""How long a Job may be without a pod before that is told: it takes its time, and then means refusal."""


@dataclass(frozen=True)
class Seen:
    """What there is of a job; ``failure`` is what its program, or an earlier look, has recorded."""

    record: JobRecord
    now: datetime
    job: Object | None = None
    pods: Sequence[Object] = ()
    published: bool = False
    failure: Failure | None = None


@dataclass(frozen=True)
class Standing:
    """Where a job has got to; ``reason`` and ``message`` say why it waits, or why it failed."""

    state: State
    reason: str = ""
    message: str = ""
    retryable: bool = False

    @property
    def failure(self) -> Failure:
        """Why it failed, as it is recorded."""
        return Failure(reason=self.reason, message=self.message, retryable=self.retryable)

    @property
    def is_the_end(self) -> bool:
        """Whether it has failed for good, and will not be gone on with in the same attempt."""
        return self.state == "failed" and self.reason != LOST

    @classmethod
    def failed(cls, failure: Failure) -> "Standing":
        """A job that has failed."""
        return cls("failed", failure.reason, failure.message, failure.retryable)


def standing_of(seen: Seen) -> Standing:
    """How the job stands."""
    if seen.published:
        return Standing("succeeded")
    if seen.record.state == "cancelled":
        return Standing("running") if seen.job or live(seen.pods) else Standing("cancelled")
    if seen.job is None:
        return _without_job(seen)
    ended = _condition(seen.job, "Failed")
    if ended is not None:
        return Standing.failed(seen.failure or failure_of(seen.job, seen.pods))
    if _condition(seen.job, "Complete") is not None:
        return Standing("succeeded")
    return _under_way(seen.job, seen)


def asks_for_pods(record: JobRecord, job: Object | None) -> bool:
    """Whether its pods have a say in how the job stands: not while all that it wants are at work."""
    if record.state == "cancelled" or job is None:
        return True
    if _condition(job, "Complete") is not None or job["spec"].get("suspend"):
        return False
    return _condition(job, "Failed") is not None or not _all_at_work(job)


def live(pods: Iterable[Object]) -> list[Object]:
    """Those that hold something of a node."""
    return [pod for pod in pods if _status(pod).get("phase") not in {"Succeeded", "Failed"}]


def failure_of(job: Object, pods: Sequence[Object]) -> Failure:
    """Why a Job failed whose program left no word: by the pod that ended last, else by the Job."""
    found = _condition(job, "Failed") or {}
    ended = _last_ended(pods)
    if ended is None:
        said = found.get("message") or "the Job failed, and none of its pods is left to say why"
        return Failure(reason=str(found.get("reason") or "JobFailed"), message=str(said), retryable=True)
    name, end = ended
    status = int(end.get("exitCode", -1))
    many = f"; it was started {len(pods)} times" if len(pods) > 1 else ""
    if end.get("reason") == "OOMKilled":
        remedy = "raise spec.resources.training.memory, or lower spec.microBatch"
        return Failure(
            reason="OOMKilled",
            message=f"the pod {name} took more memory than it may have{many}; {remedy}",
            retryable=True,
        )
    if status == Exit.OUTDATED:
        return Failure(reason="Outdated", message=f"the pod {name} found a later attempt", retryable=False)
    return Failure(
        reason="InvalidInput" if status == Exit.INVALID_INPUT else "PodFailed",
        message=f"the pod {name} ended with status {status} ({_named(status, end)}){many}",
        retryable=status != Exit.INVALID_INPUT,
    )


def last_ended_pod(pods: Sequence[Object]) -> str | None:
    """Name of the pod whose program ended last, and badly; None if there is none."""
    ended = _last_ended(pods)
    return None if ended is None else ended[0]


def finished_at(job: Object) -> datetime | None:
    """When the Job ended, well or badly; None while it has not."""
    found = _condition(job, "Complete") or _condition(job, "Failed")
    return None if found is None else datetime.fromisoformat(found["lastTransitionTime"])


def _without_job(seen: Seen) -> Standing:
    if live(seen.pods):
        # Who follows it would train beside it; so it runs until its last pod is gone.
        return Standing("running")
    if seen.failure is not None:
        return Standing.failed(seen.failure)
    if seen.record.state == "pending":
        return _not_created(seen)
    return Standing("failed", "JobDeleted", "somebody has deleted the Job", retryable=True)


def _not_created(seen: Seen) -> Standing:
    refusal = seen.record.refusal
    if refusal is not None and seen.now - seen.record.changed_at < timedelta(seconds=refusal.again_after_s):
        return Standing("pending", refusal.reason, refusal.message)
    return Standing("failed", LOST, "there is no Job yet; create it again", retryable=True)


def _under_way(job: Object, seen: Seen) -> Standing:
    if job["spec"].get("suspend"):
        return Standing("pending", reasons.QUEUED, "the queue has not admitted the Job")
    if is_going(job) or _all_at_work(job):
        return Standing("running")
    pods = live(seen.pods)
    for reason, of_pods in (
        (reasons.IMAGE_CANNOT_BE_PULLED, _waiting_in(_CANNOT_PULL)),
        (reasons.POD_CANNOT_START, _waiting_in(_CANNOT_START)),
        (reasons.WAITING_FOR_CAPACITY, _unschedulable),
    ):
        why = next((message for pod in pods if (message := of_pods(pod))), None)
        if why is not None:
            return Standing("pending", reason, why)
    if pods:
        return Standing("running")
    return _podless(job, seen)


def _podless(job: Object, seen: Seen) -> Standing:
    began = _status(job).get("startTime") or job["metadata"].get("creationTimestamp")
    waits = began is None or seen.now - datetime.fromisoformat(began) < timedelta(seconds=_PODLESS_S)
    # Just admitted by its queue, it is not gone on with yet, however long ago it began to wait.
    admitted = _condition(job, "Suspended") is not None
    # After a crash the Job waits by itself, longer and longer, before it makes the next pod.
    if seen.pods or waits or admitted:
        return Standing("running")
    return Standing(
        "pending",
        reasons.POD_REFUSED,
        f"no pod can be made for the Job {name_of(job)}; its events say why: "
        "a quota, the namespace's Pod Security, or a service account that is not there",
    )


def _all_at_work(job: Object) -> bool:
    return int(_status(job).get("ready") or 0) >= int(job["spec"].get("parallelism") or 1)


def _unschedulable(pod: Object) -> str | None:
    for condition in _status(pod).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"{name_of(pod)}: {condition.get('message') or 'no node can take it'}"
    return None


def _waiting_in(known: frozenset[str]) -> Any:
    def why(pod: Object) -> str | None:
        for container in _containers(pod):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in known:
                return (
                    f"{name_of(pod)}: {waiting['reason']}: {waiting.get('message') or container.get('image')}"
                )
        return None

    return why


def _last_ended(pods: Sequence[Object]) -> tuple[str, Mapping[str, Any]] | None:
    """Name and end of the program that ended last, and not as it should."""
    found = [
        (str(end.get("finishedAt") or ""), name_of(pod), end)
        for pod in pods
        for container in _containers(pod)
        if (end := (container.get("state") or {}).get("terminated")) and end.get("exitCode") != 0
    ]
    # A rank that lost its peers, or was asked to stop, ends after the one that went wrong.
    told = [entry for entry in found if entry[2].get("exitCode") not in {Exit.PEERS_LOST, Exit.TERMINATED}]
    if not found:
        return None
    _, name, end = max(told or found, key=lambda entry: entry[:2])
    return name, end


def _containers(pod: Object) -> list[Mapping[str, Any]]:
    status = _status(pod)
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _named(status: int, end: Mapping[str, Any]) -> str:
    known = {int(entry): entry.name for entry in Exit}
    return known.get(status, str(end.get("reason") or "Error"))


def _status(found: Object) -> Mapping[str, Any]:
    return found.get("status") or {}


def _condition(job: Object, kind: str) -> Mapping[str, Any] | None:
    for condition in _status(job).get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            found: Mapping[str, Any] = condition
            return found
    return None
