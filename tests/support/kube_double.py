"""An API server in memory, strict where the real one is: versions, UIDs, preconditions, owners.

It is here for tests of decisions that take thousands of steps; what a real API server does is
tried on a real one.
"""

import copy
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from selfie.errors import AlreadyExists, FailedPrecondition, NotFound
from selfie.kube.api import Change, Keep, Listing, whole
from selfie.kube.objects import (
    SELFIE_RUN,
    Kind,
    Object,
    controller_uid_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    version_of,
)
from selfie_operator.keys import Key
from selfie_operator.outlines import child_of

Place = tuple[Kind, str, str]


@dataclass
class Hooks:
    """Called around every write, with a word for it."""

    before: Callable[[str], None] = lambda what: None
    after: Callable[[str], None] = lambda what: None
    read: Callable[[str], None] = lambda path: None
    """Called before every read of a store, which may fail."""


class KubeDouble:
    """Objects by kind, namespace and name. ``refuse`` may raise what the server answers to a write."""

    def __init__(self, clock: Callable[[], datetime], hooks: Hooks) -> None:
        self.objects: dict[Place, Object] = {}
        self.hooks = hooks
        self.calls: Counter[str] = Counter()
        self.refuse: Callable[[str, Object], None] = lambda verb, wanted: None
        self._clock = clock
        self._version = 0
        self._uids = 0

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Object | None:
        self.calls[f"get {kind.plural}"] += 1
        return copy.deepcopy(self.objects.get((kind, namespace or "", name)))

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        keep: Keep = whole,
    ) -> Listing:
        self.calls[f"list {kind.plural}"] += 1
        found = [keep(item) for item in copy.deepcopy(self.of(kind, labels=labels))]
        return Listing(found, str(self._version))

    async def watch(self, kind: Kind, **_: Any) -> AsyncIterator[Change]:
        raise NotImplementedError
        yield  # it is an iterator, all the same

    async def create(self, kind: Kind, wanted: Object, *, namespace: str | None = None) -> Object:
        what = self._begin("create", kind, name_of(wanted), wanted)
        place = (kind, namespace_of(wanted), name_of(wanted))
        if place in self.objects:
            raise AlreadyExists(f"{kind.plural} {name_of(wanted)} already exists")
        made = self.put(kind, wanted)
        self.hooks.after(what)
        return copy.deepcopy(made)

    async def replace(self, kind: Kind, wanted: Object, *, subresource: str | None = None) -> Object:
        verb = "replace" if subresource is None else f"replace {subresource} of"
        what = self._begin(verb, kind, name_of(wanted), wanted)
        found = self._current(kind, wanted)
        self._write(found, wanted, subresource)
        self.hooks.after(what)
        return copy.deepcopy(found)

    async def patch(
        self,
        kind: Kind,
        name: str,
        change: Object,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        assert subresource is None, "nobody patches a status"
        what = self._begin("patch", kind, name, change)
        found = self.objects.get((kind, namespace or "", name))
        if found is None:
            raise NotFound(f"{kind.plural} {name} is not there")
        metadata = dict(change["metadata"])
        if metadata.pop("uid", uid_of(found)) != uid_of(found):
            raise FailedPrecondition("Conflict", f"{kind.plural} {name} is another one")
        assert metadata.keys() <= {"labels", "annotations"}, "only these are merged here"
        merged = {part: {**found["metadata"].get(part, {}), **entries} for part, entries in metadata.items()}
        self._write(found, {"metadata": merged}, None)
        self.hooks.after(what)
        return copy.deepcopy(found)

    async def delete(self, kind: Kind, name: str, *, uid: str, namespace: str | None = None) -> bool:
        what = self._begin("delete", kind, name, {})
        place = (kind, namespace or "", name)
        found = self.objects.get(place)
        gone = found is not None and uid_of(found) == uid
        if gone:
            self.remove(place)
        self.hooks.after(what)
        return gone

    async def log(
        self, pod: str, *, namespace: str, container: str | None = None, lines: int, previous: bool = False
    ) -> str:
        return ""

    def of(self, kind: Kind, *, labels: Mapping[str, str] | None = None) -> Sequence[Object]:
        """The objects of a kind themselves."""
        wanted = (labels or {}).items()
        of_kind = (found for (k, _, _), found in self.objects.items() if k == kind)
        return [found for found in of_kind if wanted <= labels_of(found).items()]

    def put(self, kind: Kind, wanted: Object) -> Object:
        """Makes an object as somebody else would, without a write that counts."""
        made = copy.deepcopy(wanted)
        self._uids += 1
        made.setdefault("metadata", {}).update(
            uid=made["metadata"].get("uid") or f"uid-{self._uids:04d}",
            creationTimestamp=self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            generation=1,
        )
        if kind == SELFIE_RUN:
            made.pop("status", None)
        self.objects[kind, namespace_of(made), name_of(made)] = made
        self.touch(made)
        return made

    def touch(self, found: Object) -> None:
        """Gives the object another version."""
        self._version += 1
        found["metadata"]["resourceVersion"] = str(self._version)

    def edit(self, kind: Kind, name: str, namespace: str, **spec: Any) -> Object:
        """Changes fields of a spec, as a user would."""
        found = self.objects[kind, namespace, name]
        wanted = {**copy.deepcopy(found), "spec": {**found["spec"], **spec}}
        self._write(found, wanted, None)
        return found

    def remove(self, place: Place) -> None:
        """Removes an object, and in time whatever it owns."""
        del self.objects[place]
        self._version += 1

    def collect_garbage(self) -> None:
        """Removes what belonged to objects that are gone."""
        uids = {uid_of(found) for found in self.objects.values()}
        for place, found in list(self.objects.items()):
            owner = controller_uid_of(found)
            if owner is not None and owner not in uids:
                self.remove(place)

    def _begin(self, verb: str, kind: Kind, name: str, wanted: Object) -> str:
        what = f"{verb} {kind.plural} {name}"
        self.calls[f"{verb} {kind.plural}"] += 1
        self.hooks.before(what)
        self.refuse(f"{verb} {kind.plural}", wanted)
        return what

    def _current(self, kind: Kind, wanted: Object) -> Object:
        found = self.objects.get((kind, namespace_of(wanted), name_of(wanted)))
        if found is None:
            raise NotFound(f"{kind.plural} {name_of(wanted)} is not there")
        if version_of(wanted) != version_of(found) or uid_of(wanted) != uid_of(found):
            raise FailedPrecondition("Conflict", f"{kind.plural} {name_of(wanted)} has changed")
        return found

    def _write(self, found: Object, wanted: Object, subresource: str | None) -> None:
        before = copy.deepcopy(found)
        if subresource is None:
            for part in ("spec", "data"):
                if part in wanted:
                    found[part] = copy.deepcopy(wanted[part])
            for part in ("labels", "annotations"):
                if part in wanted["metadata"]:
                    found["metadata"][part] = dict(wanted["metadata"][part])
        else:
            found[subresource] = copy.deepcopy(wanted[subresource])
        if found.get("spec") != before.get("spec"):
            found["metadata"]["generation"] += 1
        if found != before:
            self.touch(found)


class Told:
    """What watches have told: the objects as they were when `catch_up` was last called."""

    def __init__(self, double: KubeDouble) -> None:
        self._double = double
        self._objects: dict[Place, Object] = {}
        self.catch_up()

    def catch_up(self) -> None:
        known, self._objects = self._objects, {}
        for place, found in self._double.objects.items():
            old = known.get(place)
            same = old is not None and version_of(old) == version_of(found)
            self._objects[place] = old if same and old is not None else _kept(place[0], copy.deepcopy(found))

    @property
    def runs(self) -> Iterable[Object]:
        return [found for (kind, _, _), found in self._objects.items() if kind == SELFIE_RUN]

    def run(self, key: Key) -> Object | None:
        return self._objects.get((SELFIE_RUN, key.namespace, key.name))

    def of_run(self, kind: Kind, run_uid: str) -> list[Object]:
        return [
            found
            for (k, _, _), found in self._objects.items()
            if k == kind and labels_of(found).get("selfie.dev/run-uid") == run_uid
        ]


def _kept(kind: Kind, found: Object) -> Object:
    """What the operator's caches keep of an object."""
    return found if kind == SELFIE_RUN else child_of(kind)(found)
