"""A SelfieRun as it was read: what can be said of it without looking anywhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError

from selfie.kube.objects import Object, name_of, namespace_of, uid_of
from selfie.runs.conditions import ConditionType
from selfie.runs.load import run_from_object
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, status_from_object
from selfie_operator.keys import Key

OURS: Final = frozenset(get_args(ConditionType))
"""Types of conditions that are written here; any other belongs to somebody else."""


@dataclass(frozen=True)
class Subject:
    """The object with its status; ``found`` may be shared and is never changed."""

    found: Object
    status: RunStatus

    @classmethod
    def of(cls, found: Object) -> "Subject":
        """The run that was read."""
        return cls(found, status_of(found))

    @property
    def key(self) -> Key:
        """Its namespace and name."""
        return Key(self.namespace, self.name)

    @property
    def name(self) -> str:
        """Its name."""
        return name_of(self.found)

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return namespace_of(self.found)

    @property
    def uid(self) -> str:
        """Its UID."""
        return uid_of(self.found)

    @property
    def generation(self) -> int:
        """Which writing of its specification this is."""
        return int(self.found["metadata"].get("generation", 0))

    @property
    def has_begun(self) -> bool:
        """Whether a step of it was ever to be started."""
        return self.status.attempt > 0

    @property
    def is_told_of(self) -> bool:
        """Whether its status is about this writing of its specification."""
        return self.has_begun and self.status.observed_generation == self.generation

    def asks(self, name: str) -> bool:
        """Whether ``suspend`` or ``cancel`` is asked for, readable or not as the rest may be."""
        spec = self.found.get("spec")
        return isinstance(spec, Mapping) and spec.get(name) is True

    def run(self) -> SelfieRun:
        """What it is to do; raises `InvalidRun` with every mistake in it."""
        return run_from_object(self.found)


def status_of(found: Object) -> RunStatus:
    """The status, without the conditions of others.

    One that cannot be read counts as none: all but times and attempts is found out again.
    """
    data = found.get("status")
    if not isinstance(data, Mapping):
        return RunStatus()
    try:
        return status_from_object({**data, "conditions": own_conditions(data)})
    except ValidationError:
        return RunStatus()


def own_conditions(status: Mapping[str, Any]) -> list[Object]:
    """The conditions that are written here."""
    return [entry for entry in status.get("conditions") or () if entry.get("type") in OURS]


def other_conditions(status: Mapping[str, Any]) -> list[Object]:
    """The conditions that somebody else writes."""
    return [entry for entry in status.get("conditions") or () if entry.get("type") not in OURS]
