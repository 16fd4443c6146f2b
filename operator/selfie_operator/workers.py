"""Workers: each takes one run at a time from the queue and has it reconciled."""

import asyncio

import structlog

from selfie.errors import SelfieError, Unavailable
from selfie_operator.keys import Key, Reconcile
from selfie_operator.metrics import RECONCILE_SECONDS, RECONCILES, RETRIES
from selfie_operator.queues import WorkQueue

log = structlog.get_logger()


class Workers:
    """``count`` workers; no single look may take longer than ``within_s`` seconds."""

    def __init__(self, queue: WorkQueue, reconcile: Reconcile, *, count: int, within_s: float) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._count = count
        self._within_s = within_s
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Works until the queue is closed or this is cancelled."""
        async with asyncio.TaskGroup() as group:
            self._tasks = [group.create_task(self._work()) for _ in range(self._count)]

    async def stop(self, within_s: float) -> None:
        """Takes no more keys; looks that do not end in time are broken off."""
        self._queue.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()

    async def _work(self) -> None:
        while (key := await self._queue.next()) is not None:
            with structlog.contextvars.bound_contextvars(run=str(key)):
                await self._look(key)
            # A look that waited for nothing must not keep watches and the Lease from their turn.
            await asyncio.sleep(0)

    async def _look(self, key: Key) -> None:
        with RECONCILE_SECONDS.time():
            try:
                again_s = await self._bounded(key)
            except SelfieError as error:
                self._failed(key, error, error.reason)
            except Exception as error:
                # One run's bad luck, or our own mistake with it, must not stop the others.
                log.exception("reconcile broke")
                self._failed(key, error, "Internal")
            else:
                RECONCILES.labels("success").inc()
                self._queue.done(key, again_s=again_s)

    async def _bounded(self, key: Key) -> float | None:
        try:
            async with asyncio.timeout(self._within_s):
                return await self._reconcile(key)
        except TimeoutError as error:
            raise Unavailable(f"one look at the run took more than {self._within_s:g} s") from error

    def _failed(self, key: Key, error: Exception, reason: str) -> None:
        RECONCILES.labels("error").inc()
        RETRIES.inc()
        wait = self._queue.failed(key, error)
        log.warning("reconcile failed", reason=reason, error=str(error), again_in_s=round(wait, 1))
