"""What keeps an operation's record true while this process works on it: its heartbeat, its stop, its end."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from selfie.artifacts.operations import OperationRecord, read_record, write_record
from selfie.artifacts.store import Store
from selfie.errors import SelfieError
from selfie.rpc.operation_context import OperationContext

log = structlog.get_logger()


class Heartbeat:
    """Of one piece of work, from its start to its end.

    It stops the work when another process has it, when that was asked for, and when nobody has
    asked for ``abandoned_after``; ``asked`` tells when somebody last asked this process.
    """

    def __init__(
        self,
        record: OperationRecord,
        context: OperationContext,
        *,
        lease_s: float,
        abandoned_after: timedelta,
        asked: Callable[[], datetime],
        now: Callable[[], datetime],
    ) -> None:
        self._record = record
        self._context = context
        self._interval_s = lease_s / 6
        self._abandoned_after = abandoned_after
        self._asked = asked
        self._now = now
        self._over = asyncio.Event()
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        """Beats no more; a beat that is under way is over by then, so that none is written after the end."""
        self._over.set()
        await self._beating

    def end(self, ended: OperationRecord) -> None:
        """Records how the work ended, unless somebody who took this process for dead goes on with it."""
        if self._successor() is None:
            self._write(ended)

    async def _beat(self) -> None:
        while not await self._is_over():
            try:
                await asyncio.to_thread(self._beat_once)
            except SelfieError as error:
                log.warning("heartbeat failed", step=self._context.step, error=str(error))
            except Exception:
                log.exception("heartbeat failed unexpectedly", step=self._context.step)

    async def _is_over(self) -> bool:
        try:
            return await asyncio.wait_for(self._over.wait(), self._interval_s)
        except TimeoutError:
            return False

    def _beat_once(self) -> None:
        context, store = self._context, self._context.store
        cancelled = _cancel_path(context.step, context.attempt)
        if successor := self._successor():
            context.stop(f"{successor} has taken it over")
            return
        if store.exists(cancelled):
            store.delete(cancelled)
            context.stop("cancelled on request")
        if self._now() - self._last_asked() > self._abandoned_after:
            context.stop("nobody has asked about it; start it again to go on")
        self._write(self._record.beating(self._now(), context.progressed))

    def _last_asked(self) -> datetime:
        asked, path = self._asked(), _asked_path(self._context.step, self._context.attempt)
        if self._now() - asked > self._abandoned_after and self._context.store.exists(path):
            return max(asked, datetime.fromisoformat(self._context.store.read(path).decode()))
        return asked

    def _successor(self) -> str | None:
        current = read_record(self._context.store, self._context.step, self._context.attempt)
        return current.owner if current is not None and current.owner != self._record.owner else None

    def _write(self, record: OperationRecord) -> None:
        write_record(self._context.store, self._context.step, self._context.attempt, record)


def note_asked(store: Store, step: str, attempt: int, now: datetime) -> None:
    """Lets whoever works on it know, in whatever process, that somebody still asks about it."""
    store.write(_asked_path(step, attempt), now.isoformat().encode())


def ask_to_cancel(store: Store, step: str, attempt: int) -> None:
    """Asks whoever works on it, in whatever process, to stop."""
    store.write(_cancel_path(step, attempt), b"")


def _asked_path(step: str, attempt: int) -> str:
    return f"{step}/a{attempt}/asked"


def _cancel_path(step: str, attempt: int) -> str:
    return f"{step}/a{attempt}/cancel"
