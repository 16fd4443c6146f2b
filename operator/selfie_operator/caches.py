"""What the watches have told so far: enough to decide that nothing is to be done.

A cache is never newer than the API server and may be minutes older. Whoever acts on it reads the
objects in question once more, live, before anything that has an effect.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from selfie.kube.api import Change, Keep, Listing, whole
from selfie.kube.objects import (
    DEPLOYMENT,
    JOB,
    POD,
    SELFIE_RUN,
    SERVICE,
    Kind,
    Object,
    generation_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    version_of,
)
from selfie_operator.keys import RUN_UID_LABEL, Key
from selfie_operator.outlines import Outline, child_of, outline_of

CHILD_KINDS = (JOB, DEPLOYMENT, SERVICE, POD)

_VERSIONS_REMEMBERED = 16
_GONE_REMEMBERED = 10_000


@dataclass(frozen=True)
class Update:
    """What became of one object, which is as it last was where it is ``gone``; ``before`` None: it is new."""

    object: Object
    before: Object | None
    gone: bool = False


class Cache:
    """Objects of one kind, or outlines of them; they are shared, so nobody may change them.

    A resource version is opaque, so which of two is older cannot be read off them. What can be
    known is kept: a version that was followed by another does not come back, nor does an object
    that was deleted. A watch that replays such changes is not believed; a list, being a quorum
    read, always is.
    """

    def __init__(self, kind: Kind, *, kept: Keep = whole) -> None:
        self.kind = kind
        self.kept = kept
        """What is kept of an object; an `Outline` is made whole again when it is asked for alone."""
        self.synced = False
        self._objects: dict[Key, Object] = {}
        self._of_run: defaultdict[str, set[Key]] = defaultdict(set)
        self._superseded: dict[str, deque[str]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._objects.values())

    def get(self, key: Key) -> Object | None:
        """The object of this namespace and name."""
        found = self._objects.get(key)
        return found.whole() if isinstance(found, Outline) else found

    def of_run(self, run_uid: str) -> list[Object]:
        """Children that carry the run's UID as a label."""
        return [self._objects[key] for key in self._of_run.get(run_uid, ())]

    def replace(self, listing: Listing) -> list[Update]:
        """Takes over a whole list; returns what it changed."""
        listed = {_key(found): found for found in listing.items}
        gone = [
            known
            for key, known in self._objects.items()
            if key not in listed or uid_of(listed[key]) != uid_of(known)
        ]
        for known in gone:
            self._remove(known)
        updates = [Update(known, known, gone=True) for known in gone]
        for key, found in listed.items():
            before = self._objects.get(key)
            if before is None or version_of(before) != version_of(found):
                self._gone.pop(uid_of(found), None)
                self._store(found)
                updates.append(Update(found, before))
        self.synced = True
        return updates

    def apply(self, change: Change) -> Update | None:
        """Takes over one change of a watch; None if it is old, or already known."""
        found = change.object
        known = self._objects.get(_key(found))
        before = known if known is not None and uid_of(known) == uid_of(found) else None
        if change.type == "DELETED":
            self._remember_gone(uid_of(found))
            if before is None:
                return None
            self._remove(before)
            return Update(found, before, gone=True)
        if uid_of(found) in self._gone or (before is not None and self._is_old(before, found)):
            return None
        if known is not None and before is None:
            self._remove(known)
        self._store(found)
        return Update(found, before)

    def _is_old(self, known: Object, found: Object) -> bool:
        version = version_of(found)
        if version == version_of(known) or version in self._superseded.get(uid_of(found), ()):
            return True
        return generation_of(found) < generation_of(known)

    def _store(self, found: Object) -> None:
        key, uid = _key(found), uid_of(found)
        known = self._objects.get(key)
        if known is not None:
            versions = self._superseded.setdefault(uid, deque(maxlen=_VERSIONS_REMEMBERED))
            versions.append(version_of(known))
            self._unlabel(key, known)
        self._objects[key] = self.kept(found)
        run_uid = labels_of(found).get(RUN_UID_LABEL)
        if run_uid:
            self._of_run[run_uid].add(key)

    def _remove(self, found: Object) -> None:
        key = _key(found)
        known = self._objects.pop(key)
        self._unlabel(key, known)
        self._superseded.pop(uid_of(known), None)
        self._remember_gone(uid_of(known))

    def _unlabel(self, key: Key, known: Object) -> None:
        run_uid = labels_of(known).get(RUN_UID_LABEL, "")
        if run_uid in self._of_run:
            self._of_run[run_uid].discard(key)
            if not self._of_run[run_uid]:
                del self._of_run[run_uid]

    def _remember_gone(self, uid: str) -> None:
        self._gone[uid] = None
        self._gone.move_to_end(uid)
        if len(self._gone) > _GONE_REMEMBERED:
            self._gone.popitem(last=False)


class Caches:
    """The runs, and the children of all runs by kind."""

    def __init__(self, kinds: Sequence[Kind] = CHILD_KINDS) -> None:
        self.runs = Cache(SELFIE_RUN, kept=outline_of)
        self.children: Mapping[Kind, Cache] = {kind: Cache(kind, kept=child_of(kind)) for kind in kinds}

    def __iter__(self) -> Iterator[Cache]:
        yield self.runs
        yield from self.children.values()

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed."""
        return all(cache.synced for cache in self)

    def run(self, key: Key) -> Object | None:
        """The run as last told of."""
        return self.runs.get(key)

    def of_run(self, kind: Kind, run_uid: str) -> list[Object]:
        """The run's children of this kind."""
        return self.children[kind].of_run(run_uid)


def _key(found: Object) -> Key:
    return Key(namespace_of(found), name_of(found))
