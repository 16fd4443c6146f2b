"""An API server in memory: versions, uids, conflicts and watches, without any network."""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from selfie.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from selfie.kube.api import Change, ChangeType, Keep, Listing, whole
from selfie.kube.objects import Kind, Object, labels_of, name_of, namespace_of, uid_of, version_of

END = object()
"""Put into a watch, it ends it as a server does when its time is over."""

Fault = Callable[[str, Kind], None]


class MemoryApi:
    """``asked`` is every request; ``fault`` is called with each before it has an effect, and may raise."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fault: Fault = lambda verb, kind: None
        self.reply_lost = False
        self.watches: list[tuple[Kind, str, asyncio.Queue]] = []
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._numbers = itertools.count(1)

    def side(self) -> "MemoryApi":
        """The same server as another client meets it: with faults of its own."""
        return copy.copy(self)

    def put(self, kind: Kind, found: Object) -> Object:
        """Sets an object as somebody else would, and tells the watches."""
        key = (kind, namespace_of(found), name_of(found))
        stored = copy.deepcopy(found)
        stored["metadata"].setdefault("uid", f"uid-{next(self._numbers)}")
        stored["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.tell("MODIFIED" if key in self._objects else "ADDED", kind, stored)
        self._objects[key] = stored
        return copy.deepcopy(stored)

    def drop(self, kind: Kind, namespace: str, name: str) -> None:
        """Deletes an object as somebody else would."""
        gone = self._objects.pop((kind, namespace, name))
        gone["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.tell("DELETED", kind, gone)

    def tell(self, change: ChangeType, kind: Kind, found: Object) -> None:
        """Sends a change to all watches of the kind, whether it happened or not."""
        for watched, _, queue in self.watches:
            if watched == kind:
                queue.put_nowait(Change(change, copy.deepcopy(found)))

    def interrupt(self, kind: Kind, what: object = END) -> None:
        """Ends the watches of the kind, or has them raise an error."""
        for watched, _, queue in self.watches:
            if watched == kind:
                queue.put_nowait(what)

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Object | None:
        self._ask("get", kind)
        return copy.deepcopy(self._objects.get((kind, namespace or "", name)))

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
            keep(copy.deepcopy(item))
            for (of, place, _), item in self._objects.items()
            if of == kind
            and namespace in {None, place}
            and set((labels or {}).items()) <= set(labels_of(item).items())
        ]
        return Listing(found, str(next(self._numbers)))

    async def watch(
        self,
        kind: Kind,
        *,
        resource_version: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Change]:
        self._ask("watch", kind)
        queue: asyncio.Queue = asyncio.Queue()
        entry = (kind, resource_version, queue)
        self.watches.append(entry)
        try:
            while (told := await queue.get()) is not END:
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.watches.remove(entry)

    async def create(self, kind: Kind, wanted: Object, *, namespace: str | None = None) -> Object:
        self._ask("create", kind)
        if (kind, namespace or namespace_of(wanted), name_of(wanted)) in self._objects:
            raise AlreadyExists(f"{name_of(wanted)} is taken")
        return self._written(kind, wanted)

    async def replace(self, kind: Kind, wanted: Object, *, subresource: str | None = None) -> Object:
        self._ask("update", kind)
        known = self._objects.get((kind, namespace_of(wanted), name_of(wanted)))
        if known is None:
            raise NotFound(name_of(wanted))
        if version_of(known) != version_of(wanted):
            raise FailedPrecondition("Conflict", "somebody wrote it")
        return self._written(kind, wanted)

    async def patch(
        self,
        kind: Kind,
        name: str,
        change: Object,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        self._ask("patch", kind)
        known = self._objects.get((kind, namespace or "", name))
        if known is None:
            raise NotFound(name)
        return self._written(kind, known | change)

    async def delete(self, kind: Kind, name: str, *, uid: str, namespace: str | None = None) -> bool:
        self._ask("delete", kind)
        known = self._objects.get((kind, namespace or "", name))
        if known is None or uid_of(known) != uid:
            return False
        self.drop(kind, namespace or "", name)
        return True

    async def log(
        self, pod: str, *, namespace: str, container: str | None = None, lines: int, previous: bool = False
    ) -> str:
        return ""

    def objects(self, kind: Kind) -> Sequence[Object]:
        """All objects of the kind, as they are."""
        return [copy.deepcopy(found) for (of, _, _), found in self._objects.items() if of == kind]

    def _written(self, kind: Kind, wanted: Object) -> Object:
        stored = self.put(kind, wanted)
        if self.reply_lost:
            raise Unavailable("the reply was lost")
        return stored

    def _ask(self, verb: str, kind: Kind) -> None:
        self.asked.append((verb, kind.plural))
        self.fault(verb, kind)
