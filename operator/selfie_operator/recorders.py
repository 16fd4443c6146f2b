"""Kubernetes Events about runs: what a person sees in ``kubectl describe``.

Told only of transitions. The same words about the same run become one Event with a count, and no
run can flood the API server: what is too much is dropped, since an Event is a courtesy. How a run
has ended is told in any case: it is what a person looks for, and happens once.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import structlog

from selfie.errors import NotFound, SelfieError
from selfie.kube.api import Api
from selfie.kube.objects import EVENT, Object, micro_time, name_of, namespace_of, uid_of
from selfie_operator.metrics import EVENTS

log = structlog.get_logger()

EventType = Literal["Normal", "Warning"]

CONTROLLER = "selfie.dev/operator"
LONGEST_NOTE = 1024
"""Bytes; the API server refuses more."""


class _Said(NamedTuple):
    uid: str
    type: EventType
    reason: str
    note: str


@dataclass(frozen=True)
class _Series:
    """An Event that exists: its place, how often it was said, and when last (seconds, our clock)."""

    namespace: str
    name: str
    count: int
    at: float


@dataclass
class _Allowance:
    """Events that one run may still have; ``tokens`` grow with time."""

    tokens: float
    at: float


@dataclass(frozen=True, kw_only=True)
class EventLimits:
    """How much is told; times in seconds."""

    series_s: float = 360
    burst: int = 25
    each_s: float = 60
    waiting: int = 500
    runs: int = 4096


@dataclass(frozen=True)
class _Waiting:
    run: Object
    said: _Said
    when: datetime


@dataclass
class Recorder:
    """``record`` at any time, from the event loop; ``run`` sends."""

    api: Api
    instance: str = field(default_factory=lambda: os.uname().nodename)
    limits: EventLimits = field(default_factory=EventLimits)
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _series: "OrderedDict[_Said, _Series]" = field(default_factory=OrderedDict)
    _allowed: "OrderedDict[str, _Allowance]" = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(self.limits.waiting)

    def record(
        self, run: Object, event_type: EventType, reason: str, note: str, *, last: bool = False
    ) -> None:
        """Tells of a transition of the run: a CamelCase ``reason`` and a sentence. Never fails.

        ``last``: it is the end of the run, for which all others make room.
        """
        said = _Said(uid_of(run), event_type, reason, _cut(note))
        if not self._may(said.uid) and not last:
            EVENTS.labels("dropped").inc()
            return
        if last and self._waiting.full():
            self._waiting.get_nowait()
            self._waiting.task_done()
            EVENTS.labels("dropped").inc()
        try:
            self._waiting.put_nowait(_Waiting(run, said, self.now()))
        except asyncio.QueueFull:
            EVENTS.labels("dropped").inc()

    async def run(self) -> None:
        """Sends what is recorded; never returns."""
        while True:
            waiting = await self._waiting.get()
            try:
                await self._send(waiting)
                EVENTS.labels("sent").inc()
            except SelfieError as error:
                EVENTS.labels("failed").inc()
                log.info("event not sent", reason=waiting.said.reason, error=str(error))
            finally:
                self._waiting.task_done()

    async def flush(self, within_s: float) -> None:
        """Waits until everything recorded has been sent, but no longer than this."""
        try:
            async with asyncio.timeout(within_s):
                await self._waiting.join()
        except TimeoutError:
            log.info("events left unsent", count=self._waiting.qsize())

    async def _send(self, waiting: _Waiting) -> None:
        known = self._series.get(waiting.said)
        goes_on = known is not None and self.clock() - known.at < self.limits.series_s
        if known is None or not goes_on or not await self._count(waiting, known):
            await self._first(waiting)

    async def _count(self, waiting: _Waiting, known: _Series) -> bool:
        series = {"count": known.count + 1, "lastObservedTime": micro_time(waiting.when)}
        try:
            await self.api.patch(EVENT, known.name, {"series": series}, namespace=known.namespace)
        except NotFound:
            return False
        self._keep(waiting.said, replace(known, count=known.count + 1, at=self.clock()))
        return True

    async def _first(self, waiting: _Waiting) -> None:
        event = event_of(waiting.run, waiting.said, waiting.when, self.instance)
        created = await self.api.create(EVENT, event)
        known = _Series(namespace_of(created), name_of(created), 1, self.clock())
        self._keep(waiting.said, known)

    def _keep(self, said: _Said, series: _Series) -> None:
        self._series[said] = series
        self._series.move_to_end(said)
        if len(self._series) > self.limits.runs:
            self._series.popitem(last=False)

    def _may(self, uid: str) -> bool:
        now, limits = self.clock(), self.limits
        had = self._allowed.get(uid, _Allowance(limits.burst, now))
        tokens = min(had.tokens + (now - had.at) / limits.each_s, float(limits.burst))
        self._allowed[uid] = _Allowance(tokens - 1 if tokens >= 1 else tokens, now)
        self._allowed.move_to_end(uid)
        if len(self._allowed) > limits.runs:
            self._allowed.popitem(last=False)
        return tokens >= 1


def event_of(run: Object, said: _Said, when: datetime, instance: str) -> Object:
    """The Event of ``events.k8s.io/v1`` that tells of it."""
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {
            "namespace": namespace_of(run),
            "name": f"{name_of(run)}.{os.urandom(8).hex()}",
        },
        "eventTime": micro_time(when),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "type": said.type,
        "reason": said.reason,
        "note": said.note,
        "regarding": {
            "apiVersion": run["apiVersion"],
            "kind": run["kind"],
            "namespace": namespace_of(run),
            "name": name_of(run),
            "uid": said.uid,
        },
    }


def _cut(note: str) -> str:
    data = note.encode()
    return note if len(data) <= LONGEST_NOTE else data[: LONGEST_NOTE - 3].decode(errors="ignore") + "…"
