"""A run that has ended: whatever it holds is released, and in time the resource itself goes.

Nothing new is begun for such a run, so what was once seen to be gone stays gone.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from selfie.errors import Unavailable
from selfie.kube.frozen import Frozen
from selfie.kube.objects import JOB, POD
from selfie.runs.run_rules import LOOK_SOON_S
from selfie_operator.reconciling.freezing import Freezer
from selfie_operator.reconciling.observing import Observer
from selfie_operator.reconciling.record import Record
from selfie_operator.reconciling.services import RunPlace, Services
from selfie_operator.reconciling.settling import Children, Settling
from selfie_operator.reconciling.subject import Subject

RECENT: Final = timedelta(hours=1)
"""How long after its end a run's work is asked for, even if no pod of it is to be seen."""


class Ending:
    """Looks after runs that have ended."""

    def __init__(
        self,
        freezer: Freezer,
        observer: Observer,
        services: Services,
        settling: Settling,
        children: Children,
        now: Callable[[], datetime],
    ) -> None:
        self._freezer = freezer
        self._observer = observer
        self._services = services
        self._settling = settling
        self._children = children
        self._now = now

    async def look(self, record: Record) -> float | None:
        """One look; returns the seconds until the next."""
        subject = record.subject
        await self._settling.settle(record, {})
        if self._may_hold_something(subject) and await self._is_working(record):
            return LOOK_SOON_S
        if not self._observer.is_rid_of_everything(subject.uid):
            return LOOK_SOON_S
        wait = seconds_left(subject, self._now())
        if wait == 0:
            frozen = await self._freezer.find(subject)
            if frozen is not None:
                await self._tell(subject, frozen)
            await record.delete()
            return None
        return wait

    def _may_hold_something(self, subject: Subject) -> bool:
        if not subject.has_begun:
            return False
        ended = subject.status.completion_time
        recent = ended is None or self._now() - ended < RECENT
        return recent or any(self._children.of_run(kind, subject.uid) for kind in (JOB, POD))

    async def _is_working(self, record: Record) -> bool:
        """Whether its last work still goes on; it is stopped."""
        subject = record.subject
        frozen = await self._freezer.find(subject)
        if frozen is None:
            return False
        at = RunPlace(subject.namespace, subject.uid, frozen.run_uri)
        work = await self._observer.work(subject.status, at)
        is_live = work is not None and work.is_live
        if work is not None and is_live:
            await record.confirm()
            with suppress(Unavailable):
                await self._services.cancel(at, work.step, work.attempt)
        # Last, because a store that is away must not keep anything running.
        await self._tell(subject, frozen)
        return is_live

    async def _tell(self, subject: Subject, frozen: Frozen) -> None:
        at = RunPlace(subject.namespace, subject.uid, frozen.run_uri)
        archive = await self._observer.archive(at)
        await archive.tell(subject.status)


def seconds_left(subject: Subject, now: datetime) -> float | None:
    """Time until the resource is deleted, from `spec.ttlSecondsAfterFinished`; None if it never is."""
    spec: Any = subject.found.get("spec") or {}
    ttl, ended = spec.get("ttlSecondsAfterFinished"), subject.status.completion_time
    if not isinstance(ttl, int) or ended is None:
        return None
    return max((ended + timedelta(seconds=ttl) - now).total_seconds(), 0.0)
