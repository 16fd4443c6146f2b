"""What a run's own service looks like, by its Deployment, its Service and its pods. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from selfie.kube.labels import WEIGHTS
from selfie.kube.objects import Object, is_going, labels_of, name_of
from selfie.runs import reasons
from selfie.runs.names import weights_label
from selfie.runs.observed import ServiceObserved
from selfie_operator.reconciling.children import WEIGHTS_NOTE

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ErrImageNeverPull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_MAKING_REASONS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_LONGEST = 700
"""Characters of what a container said last: the whole of a message fits into a status."""


def sighting(
    deployment: Object | None, service: Object | None, pods: Sequence[Object]
) -> ServiceObserved | None:
    """The service as its objects show it; None once its last pod is gone.

    ``ready`` says that a ready pod stands behind the Service, and ``digests`` what the pods were
    made to load; whether an engine really has them it must be asked.
    """
    if deployment is None and not pods:
        return None
    if deployment is None or is_going(deployment):
        return ServiceObserved(ready=False, message=f"{len(pods)} pods are on their way out")
    digests = digests_of(deployment)
    label = weights_label(*(digest for _, digest in sorted(digests.items()))) if digests else ""
    if any(is_ready(pod) and labels_of(pod).get(WEIGHTS) == label for pod in pods) and _reaches(
        service, label
    ):
        return ServiceObserved(ready=True, digests=digests)
    for reason, message in troubles(deployment, pods):
        return ServiceObserved(ready=False, reason=reason, message=message)
    return ServiceObserved(ready=False, message="no pod of it is ready yet")


def digests_of(deployment: Object) -> Mapping[str, str]:
    """Digests of the weights that its pods were made to load, by role."""
    note = (deployment["metadata"].get("annotations") or {}).get(WEIGHTS_NOTE, "{}")
    try:
        found = json.loads(note)
    except json.JSONDecodeError:
        return {}
    return {str(role): str(digest) for role, digest in found.items()} if isinstance(found, dict) else {}


def is_ready(pod: Object) -> bool:
    """Whether it is ready, and meant to stay."""
    return not is_going(pod) and _condition(pod, "Ready").get("status") == "True"


def troubles(deployment: Object | None, pods: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """Reasons for which it can't become ready by itself, with a message, the surest first."""
    present = [pod for pod in pods if not is_going(pod)]
    for pod in present:
        yield from _container_troubles(pod)
    for pod in present:
        scheduled = _condition(pod, "PodScheduled")
        if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
            yield reasons.WAITING_FOR_CAPACITY, f"{name_of(pod)}: {scheduled.get('message', 'no node fits')}"
    failure = _condition(deployment, "ReplicaFailure") if deployment is not None else {}
    if failure.get("status") == "True":
        yield reasons.POD_REFUSED, str(failure.get("message", "its pods cannot be made"))


def _container_troubles(pod: Object) -> Iterator[tuple[str, str]]:
    status = pod.get("status") or {}
    for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (entry.get("state") or {}).get("waiting") or {}
        reason, where = waiting.get("reason"), f"{name_of(pod)}, {entry.get('name')}"
        if reason in _IMAGE_REASONS:
            yield reasons.IMAGE_CANNOT_BE_PULLED, f"{where}: {waiting.get('message') or reason}"
        elif reason == "CrashLoopBackOff":
            yield reasons.CRASH_LOOPING, f"{where}: {_last_words(entry)}"
        elif reason in _MAKING_REASONS:
            yield reasons.POD_CANNOT_START, f"{where}: {waiting.get('message') or reason}"


def _last_words(entry: Object) -> str:
    ended = (entry.get("lastState") or {}).get("terminated") or {}
    reason, code = ended.get("reason", "Error"), ended.get("exitCode")
    message = str(ended.get("message", "")).strip()[-_LONGEST:]
    times = f"ended {entry.get('restartCount', 0)} times"
    return f"{times}, last with {reason} (exit code {code})" + (f": {message}" if message else "")


def _reaches(service: Object | None, label: str) -> bool:
    if service is None or is_going(service):
        return False
    selector = service["spec"].get("selector") or {}
    return bool(label) and selector.get(WEIGHTS) == label


def _condition(found: Object, kind: str) -> Mapping[str, Any]:
    entries = (found.get("status") or {}).get("conditions") or ()
    return next((entry for entry in entries if entry.get("type") == kind), {})
