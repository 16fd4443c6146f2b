"""What holds the first Job of each run, and what watches tell of a kind."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from cluster.fake_pods import FakePod
from cluster.pod_statuses import Exit
from selfie.errors import SelfieError
from selfie.kube.client import KubeApi
from selfie.kube.objects import Kind, Object, name_of

NAMESPACE = "scale"


@dataclass
class Gate:
    """Holds the first program of each run until it is opened."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0

    async def behave(self, pod: FakePod) -> Exit | None:
        """What a program does before its work."""
        if "prepare" in pod.arguments:
            self.waiting += 1
            await self.opened.wait()
        return None


@dataclass
class Told:
    """What a watch tells of one kind: the objects that are there, by name."""

    kind: Kind
    objects: dict[str, Object] = field(default_factory=dict)

    async def follow(self, api: KubeApi) -> None:
        """Never returns."""
        while True:
            with suppress(SelfieError):
                listing = await api.list(self.kind, namespace=NAMESPACE)
                self.objects = {name_of(found): found for found in listing.items}
                async for change in api.watch(
                    self.kind, resource_version=listing.resource_version, namespace=NAMESPACE
                ):
                    if change.type == "DELETED":
                        self.objects.pop(name_of(change.object), None)
                    elif change.type != "BOOKMARK":
                        self.objects[name_of(change.object)] = change.object
            await asyncio.sleep(0.2)
