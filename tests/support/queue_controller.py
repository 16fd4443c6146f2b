"""A queue of Jobs that does to them what Kueue does, over the API, and knows nothing of Selfie.

Kueue manages Jobs by their label with the name of a queue. It expects them suspended and suspends
those that are not; it admits them one after the other as its quota allows, when it writes the node
selector, tolerations and labels of the flavour that it has chosen into the pod's template and flips
``suspend``. Who has to make room is suspended again; then start time and template are reset, so that
the next admission may choose another flavour. (kubernetes-sigs/kueue, pkg/controller/jobs/job.)
"""

import asyncio
import copy
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from selfie.errors import SelfieError
from selfie.kube.api import Api
from selfie.kube.client import ClientSettings, connect
from selfie.kube.objects import JOB, Object, labels_of, name_of, uid_of
from selfie.kube.transport import Access

QUEUE = "kueue.x-k8s.io/queue-name"
POD_SET = "kueue.x-k8s.io/podset"
_EVERY_S = 0.1


@dataclass(frozen=True)
class Flavour:
    """Nodes that a queue may give: by their labels, with the taint that keeps others away."""

    name: str

    @property
    def selector(self) -> dict[str, str]:
        """Labels of such nodes."""
        return {"pool": self.name}

    def admit(self, template: Object) -> Object:
        """The pods' template on these nodes."""
        given = copy.deepcopy(template)
        spec = given["spec"]
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **self.selector}
        taint = {"key": "pool", "operator": "Equal", "value": self.name, "effect": "NoSchedule"}
        spec["tolerations"] = [*(spec.get("tolerations") or ()), taint]
        given["metadata"]["labels"] = {**labels_of(given), POD_SET: "main"}
        return given


@dataclass
class Ticket:
    """What a queue knows of one Job."""

    asked: Object
    """The Job as it was first seen."""
    admissions: list[str] = field(default_factory=list)
    """Flavours, one for each time."""
    uids: set[str] = field(default_factory=set)


@dataclass
class QueueController:
    """The queue ``name`` of a namespace, with room for one Job at a time; it gives ``flavour``.

    ``is_open``: whether Jobs are admitted. ``tickets`` are by the Job's name.
    """

    api: Api
    namespace: str
    name: str
    flavour: Flavour
    is_open: bool = True
    tickets: dict[str, Ticket] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    """Jobs that are evicted, and not yet as they were."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            with suppress(SelfieError):
                await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Takes note of new Jobs, and admits the oldest that waits, if there is room."""
        listing = await self.api.list(JOB, namespace=self.namespace, labels={QUEUE: self.name})
        jobs = sorted(listing.items, key=lambda job: (job["metadata"]["creationTimestamp"], name_of(job)))
        for job in jobs:
            self.tickets.setdefault(name_of(job), Ticket(copy.deepcopy(job))).uids.add(uid_of(job))
        under_way = [job for job in jobs if not _has_ended(job) and not job["spec"].get("suspend")]
        waiting = [job for job in jobs if self._can_be_admitted(job)]
        if self.is_open and waiting and not under_way:
            await self._admit(waiting[0])

    async def evict(self, name: str) -> None:
        """Takes the nodes of a Job away, and leaves it as it was before it was admitted."""
        await self.suspend(name)
        await self.reset(name)

    async def suspend(self, name: str) -> None:
        """Begins to take its nodes away."""
        self.leaving.add(name)
        await self._change(name, {"spec": {"suspend": True}})

    async def reset(self, name: str) -> None:
        """Waits until its pods have ended, and takes back what its admission has changed."""
        job = await self._still(name)
        while not _condition(job, "Suspended") or (job.get("status") or {}).get("active"):
            await asyncio.sleep(_EVERY_S)
            job = await self._still(name)
        asked = self.tickets[name].asked["spec"]["template"]
        await self._change(name, {"status": {"startTime": None}}, subresource="status")
        await self._change(name, {"spec": {"template": _restored(job["spec"]["template"], asked)}})
        self.leaving.discard(name)

    def _can_be_admitted(self, job: Object) -> bool:
        # While it still has pods, or a start time, its template may not be changed.
        status: Mapping[str, Any] = job.get("status") or {}
        has_begun = status.get("active") or status.get("startTime") or _has_ended(job)
        return bool(job["spec"].get("suspend")) and not has_begun and name_of(job) not in self.leaving

    async def _still(self, name: str) -> Object:
        found = await self.api.get(JOB, name, namespace=self.namespace)
        assert found is not None, f"the Job {name} is gone"
        return found

    async def _admit(self, job: Object) -> None:
        template = self.flavour.admit(job["spec"]["template"])
        await self._change(name_of(job), {"spec": {"suspend": False, "template": template}})
        self.tickets[name_of(job)].admissions.append(self.flavour.name)

    async def _change(self, name: str, change: Object, **where: Any) -> Object:
        return await self.api.patch(JOB, name, change, namespace=self.namespace, **where)


@contextmanager
def queueing(
    kubeconfig: Path, namespace: str, name: str, flavour: Flavour
) -> Iterator[tuple[QueueController, Callable[[Coroutine[Any, Any, None]], None]]]:
    """A queue beside a test that blocks, with what has it do something."""
    loop, ready = asyncio.new_event_loop(), Queue[QueueController](1)

    async def work() -> None:
        async with connect(ClientSettings(access=Access(kubeconfig=kubeconfig))) as api:
            controller = QueueController(api, namespace, name, flavour)
            ready.put(controller)
            await controller.run()

    working = loop.create_task(work())
    thread = Thread(target=_to_the_end, args=(loop, working), name=f"queue-{name}", daemon=True)
    thread.start()
    try:
        controller = ready.get(timeout=60)
        yield controller, lambda asked: asyncio.run_coroutine_threadsafe(asked, loop).result(300)
    finally:
        loop.call_soon_threadsafe(working.cancel)
        thread.join()


def _to_the_end(loop: asyncio.AbstractEventLoop, working: "asyncio.Task[None]") -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(working)
    loop.close()


def _restored(present: Object, asked: Object) -> Object:
    """A change after which the template is what was asked for; null takes a key of a map away."""
    added = labels_of(present).keys() - labels_of(asked).keys()
    selector, wanted = (entry["spec"].get("nodeSelector") or {} for entry in (present, asked))
    return {
        "metadata": {"labels": dict.fromkeys(added)},
        "spec": {
            "nodeSelector": {**dict.fromkeys(selector.keys() - wanted.keys()), **wanted},
            "tolerations": asked["spec"].get("tolerations") or [],
        },
    }


def _has_ended(job: Object) -> bool:
    return _condition(job, "Complete") or _condition(job, "Failed")


def _condition(job: Object, kind: str) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)
