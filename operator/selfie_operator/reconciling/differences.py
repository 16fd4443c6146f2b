"""From what is there to what is wanted: at most one change of an object at a time. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from selfie.kube.labels import POLICY, WEIGHTS
from selfie.kube.objects import DEPLOYMENT, Kind, Object, controller_uid_of, is_going, labels_of, uid_of
from selfie_operator.reconciling.children import WANTED, WEIGHTS_NOTE


@dataclass(frozen=True)
class Create:
    """Make it."""

    wanted: Object


@dataclass(frozen=True)
class Replace:
    """Put it in place of the one that is there, if that has not changed meanwhile."""

    wanted: Object


@dataclass(frozen=True)
class Delete:
    """Let go of this very one."""

    name: str
    uid: str


@dataclass(frozen=True)
class Taken:
    """Somebody else has one of this name, and it is left alone."""

    name: str


Change: TypeAlias = Create | Replace | Delete | Taken


def change_of(
    kind: Kind, wanted: Object | None, found: Object | None, owner_uid: str, *, spare_pods: bool = False
) -> Change | None:
    """What brings ``found`` nearer to ``wanted``; None when nothing does, or it has to be waited for.

    ``spare_pods``: pods with the right weights stay as they are, and only their number is changed;
    other settings act at the next ones.
    """
    if found is None:
        return Create(wanted) if wanted is not None else None
    name = str(found["metadata"]["name"])
    if controller_uid_of(found) != owner_uid:
        return Taken(name) if wanted is not None else None
    if is_going(found):
        return None
    if wanted is None or _must_be_made_anew(kind, wanted, found):
        return Delete(name, uid_of(found))
    return _replacement(kind, wanted, found, spare_pods=spare_pods)


def _replacement(kind: Kind, wanted: Object, found: Object, *, spare_pods: bool) -> Replace | None:
    if _is_as_wanted(kind, wanted, found):
        return None
    if not (spare_pods and kind == DEPLOYMENT and _weights(wanted) == _weights(found)):
        return Replace(_in_place_of(found, wanted))
    replicas = wanted["spec"]["replicas"]
    return Replace(_with_replicas(found, replicas)) if found["spec"].get("replicas") != replicas else None


def _is_as_wanted(kind: Kind, wanted: Object, found: Object) -> bool:
    ours, theirs = (_notes(entry).get(WANTED) for entry in (wanted, found))
    if ours != theirs or labels_of(wanted).get(WEIGHTS) != labels_of(found).get(WEIGHTS):
        return False
    # Whom a Service reaches, and what pods are made as, decides whose answers a run takes.
    if kind == DEPLOYMENT:
        return bool(_weights(wanted) == _weights(found))
    return bool(wanted["spec"]["selector"] == found["spec"].get("selector"))


def _must_be_made_anew(kind: Kind, wanted: Object, found: Object) -> bool:
    """Whether it differs in what can't be changed."""
    if kind == DEPLOYMENT:
        return bool(wanted["spec"]["selector"] != found["spec"].get("selector"))
    headless = [entry["spec"].get("clusterIP") == "None" for entry in (wanted, found)]
    return bool(headless[0] != headless[1])


def _in_place_of(found: Object, wanted: Object) -> Object:
    metadata, mine = found["metadata"], wanted["metadata"]
    merged = {
        **metadata,
        "labels": {**(metadata.get("labels") or {}), **mine["labels"]},
        "annotations": {**_notes(found), **mine["annotations"]},
    }
    # What a server has chosen for an object, such as its address, stays.
    return {**found, "metadata": merged, "spec": {**found["spec"], **wanted["spec"]}}


def _with_replicas(found: Object, replicas: int) -> Object:
    return {**found, "spec": {**found["spec"], "replicas": replicas}}


def mark_of(wanted: Object, pod: Object) -> Object | None:
    """The labels and annotations that a pod lacks which is told its weights where it stands, as a patch.

    The patch is for this very pod; None where nothing is to be told, or the pod is on its way out.
    """
    metadata = pod["metadata"]
    told = labels_of(pod).get(WEIGHTS), _notes(pod).get(POLICY)
    if is_going(pod) or told == (labels_of(wanted).get(WEIGHTS), _notes(wanted).get(POLICY)):
        return None
    return {"metadata": {**wanted["metadata"], "uid": metadata["uid"]}}


def _weights(deployment: Object) -> tuple[object, object]:
    """What its pods are made to have, and what those are told that stay over rounds."""
    labels = deployment["spec"]["template"].get("metadata", {}).get("labels") or {}
    return labels.get(WEIGHTS), _notes(deployment).get(WEIGHTS_NOTE)


def _notes(found: Object) -> Mapping[str, str]:
    return found["metadata"].get("annotations") or {}
