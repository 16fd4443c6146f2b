"""Labels and owner references of all that is made for a run: by these it is found, and cleaned up."""

from typing import Final

from selfie.kube.objects import SELFIE_RUN, Object, name_of, uid_of

NAME: Final = "app.kubernetes.io/name"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
COMPONENT: Final = "app.kubernetes.io/component"
RUN: Final = "selfie.dev/run"
RUN_UID: Final = "selfie.dev/run-uid"
WEIGHTS: Final = "selfie.dev/weights"
POLICY: Final = "selfie.dev/policy"
"""Annotation of an engine's pod that is moved where it stands: which weights it is to have, as JSON."""

OPERATOR: Final = "selfie-operator"


def child_labels(run: Object, component: str, *, managed_by: str = OPERATOR) -> dict[str, str]:
    """Labels of what belongs to this run."""
    return {
        NAME: "selfie",
        MANAGED_BY: managed_by,
        COMPONENT: component,
        RUN: name_of(run),
        RUN_UID: uid_of(run),
    }


def owner_reference(run: Object) -> Object:
    """The entry by which a child is the run's own, and goes with it."""
    return {
        "apiVersion": SELFIE_RUN.api_version,
        "kind": SELFIE_RUN.kind,
        "name": name_of(run),
        "uid": uid_of(run),
        "controller": True,
        "blockOwnerDeletion": True,
    }
