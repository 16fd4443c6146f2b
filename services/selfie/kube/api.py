"""What Selfie asks of a Kubernetes API server.

Every call raises the errors of `selfie.errors` and no others:

=======  ==========================================================================
404      ``None`` or ``False`` where absence is an answer, else `NotFound`
409      `AlreadyExists` on `create`; `FailedPrecondition` ``Conflict`` on a write
410      `FailedPrecondition` ``Expired`` from `watch` and `list`: list again
401/403  `PermissionDenied`, whose message names verb and resource
422/400  `InvalidInput` with the field that the server names
429      `Overloaded` with the server's time, as is 503 where the server says when to come back
5xx      `Unavailable`, as are resets, refused connections and times out
=======  ==========================================================================
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from selfie.kube.objects import Kind, Object

ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True)
class Change:
    """One event of a watch; a bookmark has nothing but a newer resource version."""

    type: ChangeType
    object: Object


@dataclass(frozen=True)
class Listing:
    """All objects that matched at one resource version, from which a watch goes on."""

    items: Sequence[Object]
    resource_version: str


Keep: TypeAlias = Callable[[Object], Object]


def whole(found: Object) -> Object:
    """The object as it is."""
    return found


class Api(Protocol):
    """An API server. ``namespace`` is left out for kinds that have none, and to ask all of them."""

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Object | None:
        """The object as it is now, by a quorum read; None if there is none."""
        ...

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        keep: Keep = whole,
    ) -> Listing:
        """All objects with these labels, page by page; ``keep`` gives what is kept of each."""
        ...

    def watch(
        self,
        kind: Kind,
        *,
        resource_version: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Change]:
        """Changes after ``resource_version``, bookmarks among them, until the server ends the watch.

        `Unavailable` when nothing, not even a bookmark, has come for too long.
        """
        ...

    async def create(self, kind: Kind, wanted: Object, *, namespace: str | None = None) -> Object:
        """Creates it; `AlreadyExists` if the name is taken."""
        ...

    async def replace(self, kind: Kind, wanted: Object, *, subresource: str | None = None) -> Object:
        """Puts it in place of the object of its name; `Conflict` if its resource version has changed."""
        ...

    async def patch(
        self,
        kind: Kind,
        name: str,
        change: Object,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """A merge patch; a uid or a resourceVersion in its ``metadata`` must hold, else `Conflict`."""
        ...

    async def delete(self, kind: Kind, name: str, *, uid: str, namespace: str | None = None) -> bool:
        """Begins the deletion, in the background, of this very object; False if it is gone or another."""
        ...

    async def log(
        self, pod: str, *, namespace: str, container: str | None = None, lines: int, previous: bool = False
    ) -> str:
        """The last lines of a container's log; empty if there is none yet."""
        ...
