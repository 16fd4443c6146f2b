"""As much of an API server as the training controller sees, in memory; tests are its Job controller."""

import copy
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from selfie.errors import AlreadyExists
from selfie.kube.api import Change, Keep, Listing, whole
from selfie.kube.objects import CONFIG_MAP, JOB, POD, SELFIE_RUN, SERVICE, Kind, Object, labels_of, uid_of

TIME = "2026-03-01T12:00:00Z"


class JobCluster:
    """``before(verb, kind)`` is called ahead of each request, and may raise; logs are by pod's name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.asked: list[tuple[str, str]] = []
        self.logs: dict[str, str] = {}
        self.before: Callable[[str, Kind], object] = lambda verb, kind: None
        self._versions = itertools.count(2)

    # What a user, the operator, the Job controller and kubelets do.

    def put(self, kind: Kind, found: Object) -> Object:
        metadata = found["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", TIME)
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[kind.kind, metadata["namespace"], metadata["name"]] = found
        return found

    def all(self, kind: Kind) -> list[Object]:
        return [found for (name, *_), found in self.objects.items() if name == kind.kind]

    def only(self, kind: Kind) -> Object:
        (found,) = self.all(kind)
        return found

    def remove(self, kind: Kind) -> None:
        self.objects = {key: found for key, found in self.objects.items() if key[0] != kind.kind}

    def pod(self, phase: str = "Running", *, name: str = "pod-1", **state: Any) -> Object:
        """A pod of the only Job; ``state`` is its container's."""
        template = copy.deepcopy(self.only(JOB)["spec"]["template"])
        metadata = {
            **template["metadata"],
            "name": name,
            "namespace": self.only(JOB)["metadata"]["namespace"],
        }
        container = {"name": "program", "image": "selfie", "state": state}
        return self.put(
            POD, {"metadata": metadata, "status": {"phase": phase, "containerStatuses": [container]}}
        )

    def end(self, kind: str, reason: str = "BackoffLimitExceeded") -> None:
        """The only Job is Complete or Failed now."""
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": TIME}
        self.only(JOB)["status"] = {"startTime": TIME, "conditions": [condition]}

    def count(self, verb: str, kind: Kind) -> int:
        return self.asked.count((verb, kind.kind))

    # The protocol.

    def _ask(self, verb: str, kind: Kind) -> None:
        self.asked.append((verb, kind.kind))
        self.before(verb, kind)

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Object | None:
        self._ask("get", kind)
        return copy.deepcopy(self.objects.get((kind.kind, namespace or "", name)))

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        keep: Keep = whole,
    ) -> Listing:
        self._ask("list", kind)
        found = [
            keep(copy.deepcopy(entry))
            for entry in self.all(kind)
            if namespace in (None, entry["metadata"]["namespace"])
            and (labels or {}).items() <= labels_of(entry).items()
        ]
        return Listing(found, "1")

    def watch(self, kind: Kind, **_: Any) -> AsyncIterator[Change]:
        raise NotImplementedError

    async def create(self, kind: Kind, wanted: Object, *, namespace: str | None = None) -> Object:
        self._ask("create", kind)
        key = (kind.kind, namespace or "", wanted["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists(f"{key} is there")
        return copy.deepcopy(self.put(kind, copy.deepcopy(wanted)))

    async def replace(self, kind: Kind, wanted: Object, **_: Any) -> Object:
        raise NotImplementedError

    async def patch(self, kind: Kind, name: str, change: Object, **_: Any) -> Object:
        raise NotImplementedError

    async def delete(self, kind: Kind, name: str, *, uid: str, namespace: str | None = None) -> bool:
        self._ask("delete", kind)
        key = (kind.kind, namespace or "", name)
        if key not in self.objects or uid_of(self.objects[key]) != uid:
            return False
        del self.objects[key]
        return True

    async def log(
        self, pod: str, *, namespace: str, container: str | None = None, lines: int, previous: bool = False
    ) -> str:
        self._ask("log", POD)
        return self.logs.get(pod, "")


__all__ = ["CONFIG_MAP", "JOB", "POD", "SELFIE_RUN", "SERVICE", "JobCluster"]
