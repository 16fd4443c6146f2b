"""What became of all runs, and what was asked of the API server, followed from outside."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster.audit import Event, parsed
from selfie.errors import SelfieError
from selfie.kube.client import KubeApi
from selfie.kube.objects import SELFIE_RUN, Object, name_of, namespace_of, uid_of, version_of
from selfie.runs.status import RunStatus
from selfie_operator.reconciling.subject import status_of


@dataclass
class Chronicle:
    """What became of all runs: each status that the API server has told of, in order, by the run's UID."""

    latest: dict[tuple[str, str], Object] = field(default_factory=dict)
    history: dict[str, list[RunStatus]] = field(default_factory=dict)

    async def follow(self, api: KubeApi) -> None:
        while True:
            with suppress(SelfieError):
                listing = await api.list(SELFIE_RUN)
                listed = {(namespace_of(found), name_of(found)) for found in listing.items}
                self.latest = {key: found for key, found in self.latest.items() if key in listed}
                for found in listing.items:
                    self._take(found)
                version = listing.resource_version
                async for change in api.watch(SELFIE_RUN, resource_version=version):
                    if change.type == "DELETED":
                        self.latest.pop((namespace_of(change.object), name_of(change.object)), None)
                    elif change.type != "BOOKMARK":
                        self._take(change.object)
            await asyncio.sleep(0.2)

    def _take(self, found: Object) -> None:
        key = (namespace_of(found), name_of(found))
        known = self.latest.get(key)
        if known is None or version_of(known) != version_of(found):
            self.latest[key] = found
            self.history.setdefault(uid_of(found), []).append(status_of(found))


@dataclass
class AuditTail:
    """The audit log from where it was last read on, by namespace."""

    log: Path
    place: int = 0
    by_namespace: dict[str, list[Event]] = field(default_factory=dict)

    def of(self, namespace: str) -> list[Event]:
        with self.log.open("rb") as lines:
            lines.seek(self.place)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self.place += len(line)
                event = parsed(line)
                if event is not None:
                    self.by_namespace.setdefault(event.namespace, []).append(event)
        return self.by_namespace.get(namespace, [])
