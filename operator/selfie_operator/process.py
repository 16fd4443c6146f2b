"""One operator process: watches from the start, acts while it holds the Lease, ends in order.

The life of a process: it serves its probes, lists and watches; once it holds the Lease and has
listed everything, workers reconcile. SIGTERM: no more keys are taken, looks in progress end, the
Lease is given up, exit 0. A lost Lease: everything is broken off, exit 1, and the kubelet starts
the next process. A part that breaks takes the process with it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import structlog

from selfie.kube.api import Api
from selfie.kube.client import connect
from selfie.rpc.logs import configure
from selfie.rpc.server import write_ports
from selfie.tracing.exporting import traced
from selfie_operator.caches import Cache, Caches
from selfie_operator.health import Vitals
from selfie_operator.keys import Check, Key, Reconcile, run_of
from selfie_operator.leases import Election, LeaseTerms
from selfie_operator.metrics import QUEUE_DEPTH, QUEUE_OLDEST, count_request
from selfie_operator.phase_metrics import told_of
from selfie_operator.probes import Heartbeat, serve_probes
from selfie_operator.queues import WorkQueue
from selfie_operator.recorders import Recorder
from selfie_operator.reflectors import CHILD_LABELS, Reflector, Watching
from selfie_operator.settings import OperatorSettings
from selfie_operator.workers import Workers

log = structlog.get_logger()

Build = Callable[[OperatorSettings, Api, Caches, Recorder, Check], Reconcile]
"""Makes what looks after one run, and checks before each act; called once, inside the event loop."""

LOST = 1
_LAST_EVENTS_S = 2.0
_LOOK_EVERY_S = 0.1


async def operate(
    settings: OperatorSettings, build: Build, *, when_lost: Callable[[], None] = lambda: None
) -> int:
    """Runs until SIGTERM or SIGINT, or until the Lease is lost; returns the exit status.

    ``when_lost`` is called at the very moment, before anything is tidied up.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    async with AsyncExitStack() as stack:
        stack.enter_context(traced("selfie-operator", settings))
        reached = Contact()
        lease_api = await stack.enter_async_context(connect(settings.lease_client, on_answer=reached.count))
        election = Election(lease_api, _terms(settings))
        api = await stack.enter_async_context(
            connect(settings.client, on_answer=reached.count, before_write=election.check)
        )
        operator = Operator(settings, api, election, reached, when_lost)
        port = await stack.enter_async_context(serve_probes(settings.host, settings.port, operator.vitals))
        log.info("serving", port=port)
        if settings.port_file is not None:
            write_ports(settings.port_file, port, port)
        return await operator.run(build, ended)


class Contact:
    """When the API server last answered anything; counts the answers on the way."""

    def __init__(self) -> None:
        self._at = asyncio.get_running_loop().time()

    @property
    def age_s(self) -> float:
        """Seconds since then."""
        return asyncio.get_running_loop().time() - self._at

    def count(self, verb: str, resource: str, code: str) -> None:
        """Called with each request's end."""
        count_request(verb, resource, code)
        if code != "error":
            self._at = asyncio.get_running_loop().time()


class Operator:
    """The parts of one process, and the order in which they begin and end."""

    def __init__(
        self,
        settings: OperatorSettings,
        api: Api,
        election: Election,
        reached: Contact,
        when_lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._api = api
        self._election = election
        self._reached = reached
        self._when_lost = when_lost
        self._caches = Caches()
        self._queue = WorkQueue()
        self._recorder = Recorder(api)
        self._heartbeat = Heartbeat()
        self._reflectors = [self._reflector(cache) for cache in self._caches]
        self._acting = False
        self._lost = False

    def vitals(self) -> Vitals:
        """What the probes judge by."""
        return Vitals(
            watches={reflector.resource: reflector.silent_s for reflector in self._reflectors},
            refusals={
                reflector.resource: reflector.refusal for reflector in self._reflectors if reflector.refusal
            },
            reached=self._reached.age_s,
            stuck=self._queue.stuck_s,
            look=self._settings.reconcile_seconds,
            lag=self._heartbeat.worst_s,
            synced=self._caches.synced,
            lost_lease=self._lost,
        )

    async def run(self, build: Build, ended: asyncio.Event) -> int:
        """The whole life; a part that raises ends it with that error."""
        QUEUE_DEPTH.set_function(lambda: self._queue.depth)
        QUEUE_OLDEST.set_function(lambda: self._queue.oldest_s)
        built = build(self._settings, self._api, self._caches, self._recorder, self._election.check)

        async def reconcile(key: Key) -> float | None:
            # A process that was stopped for a while may wake up here, led by another by now.
            self._election.check()
            return await built(key)

        watches = [reflector.run() for reflector in self._reflectors]
        parts = [*watches, self._recorder.run(), self._heartbeat.run()]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
            try:
                return await self._take_part(reconcile, ended)
            finally:
                for task in tasks:
                    task.cancel()

    async def _take_part(self, reconcile: Reconcile, ended: asyncio.Event) -> int:
        over = asyncio.create_task(ended.wait())
        try:
            if await _before(over, self._election.acquire()):
                return await self._lead(reconcile, over)
            return 0
        finally:
            over.cancel()
            await self._election.release()

    async def _lead(self, reconcile: Reconcile, over: "asyncio.Task[bool]") -> int:
        settings = self._settings
        workers = Workers(self._queue, reconcile, count=settings.workers, within_s=settings.reconcile_seconds)
        holding = asyncio.create_task(self._election.hold())
        working = asyncio.create_task(self._work(workers))
        try:
            await asyncio.wait({over, holding, working}, return_when=asyncio.FIRST_COMPLETED)
            if not holding.done():
                log.info("stopping", seconds=settings.drain_seconds)
                await _before(holding, workers.stop(settings.drain_seconds))
                await _before(holding, self._recorder.flush(_LAST_EVENTS_S))
            if holding.done():
                self._lost = True
                self._when_lost()
            return LOST if self._lost else 0
        finally:
            holding.cancel()
            working.cancel()
            await _ended(working)

    async def _work(self, workers: Workers) -> None:
        while not self._caches.synced:
            await asyncio.sleep(_LOOK_EVERY_S)
        self._acting = True
        runs = (run_of(self._caches.runs.kind, found) for found in self._caches.runs)
        self._queue.add_all(key for key in runs if key is not None)
        log.info("reconciling", runs=len(self._caches.runs))
        with told_of(self._caches.runs):
            await workers.run()

    def _hint(self, key: Key, urgent: bool) -> None:
        # A standby only keeps its caches up to date; whoever comes to lead looks at every run.
        if self._acting:
            self._queue.add(key, urgent=urgent)

    def _reflector(self, cache: Cache) -> Reflector:
        watching = Watching(
            namespace=self._settings.namespace or None,
            relist_s=self._settings.relist_seconds,
            labels=None if cache is self._caches.runs else CHILD_LABELS,
        )
        return Reflector(self._api, cache, watching, self._hint)


async def _before(over: "asyncio.Task[Any]", work: Coroutine[Any, Any, Any]) -> bool:
    """Whether the work was done before it was over; it is cancelled if not."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({over, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        working.cancel()


async def _ended(task: "asyncio.Task[Any]") -> None:
    """Waits for a cancelled task; raises what it broke with, if it did."""
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _terms(settings: OperatorSettings) -> LeaseTerms:
    return LeaseTerms(
        namespace=settings.lease_place(),
        name=settings.lease_name,
        identity=settings.lease_identity(),
        duration_s=settings.lease_duration_seconds,
        renew_s=settings.lease_renew_seconds,
        retry_s=settings.lease_retry_seconds,
    )


def run(settings: OperatorSettings, build: Build) -> None:
    """Runs the process and ends it.

    With a lost Lease it ends at once: no task and no thread may finish what it has begun.
    """

    def end() -> None:
        log.error("lease lost: ending")
        os._exit(LOST)

    async def main() -> int:
        configure("selfie-operator", settings.log_level)
        return await operate(settings, build, when_lost=end)

    sys.exit(asyncio.run(main()))
