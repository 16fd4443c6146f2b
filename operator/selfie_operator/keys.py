"""Which run an object belongs to, and what looks after one run."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from selfie.errors import FailedPrecondition
from selfie.kube.objects import SELFIE_RUN, Kind, Object, labels_of, name_of, namespace_of

RUN_LABEL = "selfie.dev/run"
RUN_UID_LABEL = "selfie.dev/run-uid"


class Key(NamedTuple):
    """A run by namespace and name, whatever its UID is by now."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


Reconcile: TypeAlias = Callable[[Key], Awaitable[float | None]]
"""Looks at a run once and does what is to be done.

Returns the seconds until the next look at the latest, None for not before a hint. An exception
means that it is tried again, later and later.
"""


Check: TypeAlias = Callable[[], None]
"""Called before each act; raises `NotLeader` where this process may not act."""


class NotLeader(FailedPrecondition):
    """This process does not hold its Lease (any more), and does nothing."""

    def __init__(self) -> None:
        super().__init__("NotLeader", "this operator does not hold its Lease (any more)")


def run_of(kind: Kind, found: Object) -> Key | None:
    """The run itself, or the one that the object is a child of; None if it is nobody's."""
    if kind == SELFIE_RUN:
        return Key(namespace_of(found), name_of(found))
    name = labels_of(found).get(RUN_LABEL)
    return Key(namespace_of(found), name) if name else None
