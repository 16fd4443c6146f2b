"""Kinds of objects, and what is read off any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

Object: TypeAlias = dict[str, Any]
"""One object as the API sends it: plain data with camelCase keys."""


@dataclass(frozen=True)
class Kind:
    """A kind of object: ``Kind("batch/v1", "Job", "jobs")``."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True


SELFIE_RUN: Final = Kind("selfie.dev/v1alpha1", "SelfieRun", "selfieruns")
JOB: Final = Kind("batch/v1", "Job", "jobs")
POD: Final = Kind("v1", "Pod", "pods")
SERVICE: Final = Kind("v1", "Service", "services")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT: Final = Kind("events.k8s.io/v1", "Event", "events")
TOKEN_REVIEW: Final = Kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False)


def name_of(found: Object) -> str:
    """Its name in its namespace."""
    return str(found["metadata"]["name"])


def namespace_of(found: Object) -> str:
    """Its namespace; empty for what has none."""
    return str(found["metadata"].get("namespace", ""))


def uid_of(found: Object) -> str:
    """What tells it apart from another of the same name, before or after it."""
    return str(found["metadata"]["uid"])


def version_of(found: Object) -> str:
    """Its resource version: opaque, and equal only while nobody has written it."""
    return str(found["metadata"]["resourceVersion"])


def generation_of(found: Object) -> int:
    """Grows with every change of its spec; 0 for kinds that do not count."""
    return int(found["metadata"].get("generation", 0))


def labels_of(found: Object) -> Mapping[str, str]:
    """Its labels."""
    return found["metadata"].get("labels") or {}


def controller_uid_of(found: Object) -> str | None:
    """UID of the one object that manages it; None if nobody does."""
    owners = found["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), None)


def is_going(found: Object) -> bool:
    """Whether its deletion has begun."""
    return "deletionTimestamp" in found["metadata"]


def micro_time(when: datetime) -> str:
    """A time as the API writes it where microseconds count."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
