"""One look at one run: nothing that is decided by is remembered from one to the next.

What a look finds wrong with the run itself is told in its status; what is wrong with the world
around it is raised, so that the run is looked at again, later and later.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import structlog

from selfie import errors
from selfie.kube.api import Api
from selfie.kube.frozen import Frozen
from selfie.kube.objects import Object, is_going
from selfie.monitoring.boards import RunBoard
from selfie.monitoring.sights import RunName
from selfie.runs import reasons
from selfie.runs.actions import Outcome, Verdict
from selfie.runs.reporting import told
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import InvalidRun
from selfie_operator.keys import Key
from selfie_operator.reconciling.ending import Ending
from selfie_operator.reconciling.freezing import Freezer
from selfie_operator.reconciling.queueing import look_again_s, runs_before, told_before
from selfie_operator.reconciling.record import OutdatedError, Record, Recorder
from selfie_operator.reconciling.stepping import Stepping
from selfie_operator.reconciling.subject import Subject

log = structlog.get_logger()

LOOK_AGAIN_S: Final = 0.5
"""After somebody else has written the run: by then the watch has told of it."""
LOOK_AGAIN_AT_LEAST_S: Final = 30.0
"""After many such looks in a row: the watch tells of nothing. A hint has it looked at sooner."""
INTERNAL: Final = "Internal"


class Runs(Protocol):
    """What the watches have told of runs; the objects are shared, and never changed."""

    @property
    def runs(self) -> Iterable[Object]:
        """All of them."""
        ...

    def run(self, key: Key) -> Object | None:
        """The one of this name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Looks after runs, at most ``limit`` of them active at a time."""

    api: Api
    runs: Runs
    recorder: Recorder
    freezer: Freezer
    stepping: Stepping
    ending: Ending
    limit: int | None
    now: Callable[[], datetime]
    board: RunBoard
    outdated: dict[Key, int] = field(default_factory=dict)
    """How many looks in a row have found a run that was not as the watch had told."""

    async def __call__(self, key: Key) -> float | None:
        """Looks once; returns the seconds until the next look at the latest."""
        before = self.outdated.pop(key, 0)
        found = self.runs.run(key)
        if found is None or is_going(found):
            # What it owns goes with it, and work that nobody asks about stops by itself.
            self.board.forget(RunName(*key))
            self.stepping.forget(key)
            return None
        record = Record(self.api, self.recorder, Subject.of(found))
        try:
            return await self._look(record)
        except OutdatedError as error:
            log.debug("looked at an outdated run", error=str(error))
            self.outdated[key] = before + 1
            return min(LOOK_AGAIN_S * 2.0 ** min(before, 10), LOOK_AGAIN_AT_LEAST_S)
        except errors.SelfieError as error:
            if not error.retryable:
                await self._stall(record, error.reason, str(error))
            raise
        except Exception as error:
            message = f"the operator stumbled over this run ({type(error).__name__}); its log says more"
            await self._stall(record, INTERNAL, message)
            raise
        finally:
            self.board.tell(RunName(*key), record.status)

    async def _look(self, record: Record) -> float | None:
        if record.status.is_terminal:
            self.stepping.forget(record.subject.key)
            return await self.ending.look(record)
        try:
            return await self._carry_on(record)
        except InvalidRun as error:
            await self._tell(record, Verdict(Outcome.STALLED, error.reason, _from_the_start(str(error))))
            return None

    async def _carry_on(self, record: Record) -> float | None:
        subject = record.subject
        if subject.has_begun:
            frozen = await self._frozen(record)
            run, before = self.freezer.run_begun(subject, frozen), self._runs_before(subject)
            return await self.stepping.look(record, run, frozen, before=before)
        if subject.asks("cancel"):
            message = "cancelled on request before its first step"
            await self._tell(record, Verdict(Outcome.FAILED, reasons.CANCELLED, message))
            return LOOK_AGAIN_S
        return await self._begin(record, self.freezer.run_to_begin(subject))

    async def _begin(self, record: Record, run: SelfieRun) -> float | None:
        if run.spec.suspend:
            message = "suspended on request before its first step; set spec.suspend to false to begin"
            await self._tell(record, Verdict(Outcome.SUSPENDED, reasons.SUSPENDED, message))
            return None
        before = self._runs_before(record.subject)
        if before is not None:
            message = f"{told_before(before)}, and {self.limit} may be active at a time"
            await self._tell(record, Verdict(Outcome.SUSPENDED, reasons.QUEUED, message))
            return look_again_s(before)
        frozen = await self.freezer.freeze(record, run)
        return await self.stepping.look(record, self.freezer.run_begun(record.subject, frozen), frozen)

    async def _frozen(self, record: Record) -> Frozen:
        found = await self.freezer.find(record.subject)
        return found or await self.freezer.freeze(record, self.freezer.run_to_begin(record.subject))

    def _runs_before(self, subject: Subject) -> int | None:
        if self.limit is None or subject.asks("suspend") or subject.asks("cancel"):
            return None
        return runs_before(subject.found, self.runs.runs, self.limit)

    async def _tell(self, record: Record, verdict: Verdict) -> None:
        generation = record.subject.generation
        await record.write(told(record.status, verdict, generation=generation, now=self.now()))

    async def _stall(self, record: Record, reason: str, message: str) -> None:
        if record.status.is_terminal:
            return
        verdict = Verdict(Outcome.STALLED, reasons.well_formed(reason, otherwise=INTERNAL), message)
        # The error itself is raised in any case.
        with suppress(OutdatedError, errors.SelfieError):
            await self._tell(record, verdict)


def _from_the_start(message: str, longest: int = 1500) -> str:
    """The first mistakes; a condition would keep the last ones."""
    return message if len(message) <= longest else f"{message[: longest - 1]}…"
