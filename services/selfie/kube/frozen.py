"""What was fixed when a run started: an immutable ConfigMap that the run owns.

A release that is upgraded brings other defaults, images and places. A run that has started keeps
those that it started with, so everybody who makes something for it reads them here.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from selfie.errors import DataCorrupted, FailedPrecondition, InvalidInput
from selfie.kube.labels import child_labels, owner_reference
from selfie.kube.objects import Object, controller_uid_of, name_of, namespace_of, uid_of
from selfie.kube.pod_settings import PodSettings
from selfie.runs.load import object_of, run_from_object
from selfie.runs.names import frozen_name
from selfie.runs.relocating import below, with_sources
from selfie.runs.spec import MethodFields, SelfieRun

NAME_TAKEN: Final = "NameTaken"
"""Reason of a `FailedPrecondition`: an object of this name belongs to somebody else."""

_RUN, _PODS, _URI, _SOURCES, _DIGEST = "run.json", "pods.json", "runUri", "sourcesRoot", "runDigest"


@dataclass(frozen=True)
class Frozen:
    """``run`` with every default written out and every source absolute; ``run_uri`` is its root.

    ``sources_root`` is what relative sources are relative to, for rounds that are added later.
    """

    run: SelfieRun
    run_uri: str
    pods: PodSettings
    sources_root: str

    def of(self, present: SelfieRun) -> SelfieRun:
        """The run as it is carried out now.

        The method is the frozen one. Rounds that were added at the end since, and all that says how
        the run is carried out, are as they are at ``present``.
        """
        fixed = {name: getattr(self.run.spec, name) for name in MethodFields.model_fields}
        placed = with_sources(present, lambda _, uri: uri if "://" in uri else below(self.sources_root, uri))
        added = placed.spec.rounds[len(self.run.spec.rounds) :]
        fixed["rounds"] = (*self.run.spec.rounds, *added)
        return present.model_copy(update={"spec": present.spec.model_copy(update=fixed)})


def config_map_of(frozen: Frozen, owner: Object) -> Object:
    """The ConfigMap to be made for the SelfieRun ``owner``."""
    # As JSON, which is read much faster than YAML: after a restart, those of all active runs are.
    text = json.dumps(object_of(frozen.run), indent=2)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": frozen_name(name_of(owner), uid_of(owner)),
            "namespace": namespace_of(owner),
            "labels": child_labels(owner, "frozen"),
            "ownerReferences": [owner_reference(owner)],
        },
        "immutable": True,
        "data": {
            _RUN: text,
            _DIGEST: _digest(text),
            _URI: frozen.run_uri,
            _SOURCES: frozen.sources_root,
            _PODS: frozen.pods.model_dump_json(by_alias=True, exclude_none=True, indent=2),
        },
    }


def frozen_from(found: Object, owner_uid: str) -> Frozen:
    """What the ConfigMap of the run with this UID says.

    Raises `FailedPrecondition` ``NameTaken`` for one that is not the run's own, and
    `DataCorrupted` for one that is not as it was made.
    """
    name = name_of(found)
    if controller_uid_of(found) != owner_uid:
        raise FailedPrecondition(
            NAME_TAKEN, f"the ConfigMap {name} belongs to somebody else; delete it, or rename the run"
        )
    data = found.get("data") or {}
    try:
        if _digest(data[_RUN]) != data[_DIGEST]:
            raise DataCorrupted(f"the ConfigMap {name} was changed: {_RUN} has another digest than {_DIGEST}")
        run = run_from_object(json.loads(data[_RUN]))
        return Frozen(run, data[_URI], PodSettings.model_validate_json(data[_PODS]), data[_SOURCES])
    except (KeyError, ValueError, InvalidInput) as error:
        raise DataCorrupted(
            f"the ConfigMap {name} is not as it was made: {error}; start a new run"
        ) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
