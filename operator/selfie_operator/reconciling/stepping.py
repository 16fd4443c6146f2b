"""A run that is going on: observe, plan, act, report.

The order is what makes a crash harmless. A new step or attempt, and the end of the run, are written
into the status before anything is done about them; everything that is done has a name that follows
from them, so doing it again finds it done. What came of it is reported last, in the same or in the
next look.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog

from selfie import errors
from selfie.dispatch.calls import StepCall
from selfie.kube.frozen import Frozen
from selfie.monitoring.boards import RunBoard
from selfie.monitoring.sights import RunName
from selfie.runs import reasons
from selfie.runs.actions import Action, CancelStep, Outcome, StartStep, Verdict, WorkAhead
from selfie.runs.conditions import has_status
from selfie.runs.observed import Observed, WorkObserved
from selfie.runs.plan import Plan, plan
from selfie.runs.reporting import told
from selfie.runs.run_rules import LOOK_SOON_S
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus
from selfie.runs.steps import TRAINING
from selfie.runs.timing import seconds_to_deadline
from selfie_operator.keys import Key, NotLeader
from selfie_operator.reconciling.children import engine_moves, goals_of
from selfie_operator.reconciling.observing import Observer, Sight
from selfie_operator.reconciling.pacing import Pace, Work, wait_s
from selfie_operator.reconciling.queueing import look_again_s, told_before
from selfie_operator.reconciling.record import Record
from selfie_operator.reconciling.services import RunPlace, Services
from selfie_operator.reconciling.settling import Settling

log = structlog.get_logger()

LOOK_AT_STALL_S: Final = 30.0
"""What stalls a run is mostly told of by a watch; what is not is looked for this often."""


@dataclass(frozen=True)
class Look:
    """One look at a run: ``run`` as it is carried out now, and the runs before it if it has to wait."""

    record: Record
    run: SelfieRun
    frozen: Frozen
    before: int | None

    @property
    def at(self) -> RunPlace:
        """Where its services and artifacts are."""
        subject = self.record.subject
        return RunPlace(subject.namespace, subject.uid, self.frozen.run_uri)

    @property
    def is_halted(self) -> bool:
        """Whether the run is to hold nothing for now."""
        return self.run.spec.suspend or self.before is not None

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """What happens next. A run that waits for its turn holds no more than a suspended one."""
        if self.before is None:
            return plan(self.run.spec, self.record.status, observed, now)
        halted = self.run.spec.model_copy(update={"suspend": True})
        decided = plan(halted, self.record.status, observed, now)
        verdict = Verdict(Outcome.SUSPENDED, reasons.QUEUED, told_before(self.before), decided.actions)
        return replace(decided, status=self.told(verdict, now))

    def call(self, action: StartStep | WorkAhead) -> StepCall:
        """What is asked of a service for it."""
        return StepCall(self.run, self.at.uri, self.at.uid, action.step, action.attempt, action.inputs)

    def told(self, verdict: Verdict, now: datetime) -> RunStatus:
        """The status as it is written, with this verdict."""
        return told(self.record.status, verdict, generation=self.record.subject.generation, now=now)


@dataclass(frozen=True)
class Acted:
    """What came of the actions: work that was refused, or why the run can't go on now."""

    failed: WorkObserved | None = None
    stalled: Verdict | None = None
    retry_after_s: float = 0.0


class Stepping:
    """Takes runs that have begun, or begin now, one look further."""

    def __init__(
        self,
        observer: Observer,
        services: Services,
        settling: Settling,
        now: Callable[[], datetime],
        board: RunBoard,
    ) -> None:
        self._board = board
        self._observer = observer
        self._services = services
        self._settling = settling
        self._now = now
        self._pace = Pace()

    def forget(self, key: Key) -> None:
        """Called with a run that is gone, or has ended."""
        self._pace.seen(key, None)

    async def look(
        self, record: Record, run: SelfieRun, frozen: Frozen, *, before: int | None = None
    ) -> float | None:
        """One look; ``before``: it has to wait for its turn again, with so many runs before it."""
        look = Look(record, run, frozen, before)
        moves = engine_moves(run.spec, frozen)
        sight = await self._observer.look(record.subject, run, look.at, engine_moves=moves)
        observed = sight.observed
        decided = look.plan(observed, self._now())
        if is_intent(record.status, decided.status):
            await record.write(decided.status)
        decided = await self._settle(look, observed, decided)
        acted = await self._act(look, decided.actions)
        if acted.failed is not None:
            decided = look.plan(replace(observed, work=acted.failed), self._now())
        await record.write(look.told(acted.stalled, self._now()) if acted.stalled else decided.status)
        await self._keep(look, sight)
        return self._next_look(look, observed, decided, acted)

    async def _settle(self, look: Look, observed: Observed, decided: Plan) -> Plan:
        """Makes the services as they are wanted; what can't be made is planned with."""
        if decided.services is None:
            return decided
        goals = goals_of(look.record.subject.found, look.run.spec, look.frozen, decided.services)
        goes_on = not (look.record.status.is_terminal or look.is_halted)
        refused = await self._settling.settle(look.record, goals, keep_addresses=goes_on)
        if not refused:
            return decided
        return look.plan(replace(observed, services={**observed.services, **refused}), self._now())

    async def _act(self, look: Look, actions: Sequence[Action]) -> Acted:
        acted = Acted()
        for action in actions:
            await look.record.confirm()
            match action:
                case StartStep():
                    acted = await self._start(look, action)
                case CancelStep():
                    # It is asked again until the work is seen to be gone.
                    with suppress(errors.Unavailable):
                        await self._services.cancel(look.at, action.step, action.attempt)
                case WorkAhead():
                    await self._start_ahead(look, action)
        return acted

    async def _start(self, look: Look, action: StartStep) -> Acted:
        try:
            await self._services.start(look.at, look.call(action))
        except errors.Overloaded as error:
            return Acted(retry_after_s=error.retry_after_s)
        except (errors.Unavailable, errors.Cancelled):
            return Acted()
        except NotLeader:
            raise
        except errors.SelfieError as error:
            return refusal(action, error)
        return Acted()

    async def _start_ahead(self, look: Look, action: WorkAhead) -> None:
        try:
            await self._services.start_ahead(look.at, look.call(action), action.source)
        except NotLeader:
            raise
        except errors.SelfieError as error:
            # Nothing waits for it: the step itself does what was not done.
            log.info("nothing is done ahead", step=action.step.path, error=str(error))

    async def _keep(self, look: Look, sight: Sight) -> None:
        subject = look.record.subject
        self._board.observe(RunName(subject.namespace, subject.name), look.run.spec, sight.observed)
        if sight.archive is not None:
            await sight.archive.tell(look.record.status)
            await sight.archive.let_go(look.run.spec, look.record.status, sight.observed)

    def _next_look(self, look: Look, observed: Observed, decided: Plan, acted: Acted) -> float | None:
        status, wait = look.record.status, decided.requeue_after_s
        work = kind_of(observed.work)
        self._pace.seen(look.record.subject.key, work)
        if status.is_terminal:
            return LOOK_SOON_S
        if look.is_halted:
            if decided.actions or not self._observer.is_rid_of_everything(look.at.uid):
                return LOOK_SOON_S
            return look_again_s(look.before) if look.before is not None else None
        if has_status(status.conditions, "Stalled", "True"):
            return max(wait or 0.0, LOOK_AT_STALL_S)
        if work is not None:
            left = seconds_to_deadline(look.run.spec, status, self._now())
            return wait_s(work, wait or 0.0, turn_s=self._pace.turn_s(work), deadline_s=left)
        return max(wait, acted.retry_after_s) if wait is not None else None


def kind_of(work: WorkObserved | None) -> Work | None:
    """What the work is that goes on; None if none does."""
    if work is None or not work.is_live:
        return None
    return "job" if work.step.service == TRAINING else "call"


def is_intent(before: RunStatus, after: RunStatus) -> bool:
    """Whether the new status says that something is begun, or that all is over: it is written first."""
    return (before.step, before.attempt, before.is_terminal) != (after.step, after.attempt, after.is_terminal)


def refusal(action: StartStep, error: errors.SelfieError) -> Acted:
    """What an attempt that could not be started means for the run.

    Who may not ask, and what is in the way, has to be mended outside. An error of no kind that is
    known, such as a service's own mistake, may pass with another attempt. All else is final.
    """
    # The run is as it was read, so a request that is out of date is so for more than a moment.
    unasked = errors.PermissionDenied | errors.Unauthenticated | errors.OutOfDate
    if isinstance(error, unasked) or error.reason in reasons.STALLING:
        message = f"{action.step.path} cannot be started: {error}"
        return Acted(stalled=Verdict(Outcome.STALLED, error.reason, message))
    return Acted(
        failed=WorkObserved(
            action.step,
            action.attempt,
            "failed",
            message=str(error),
            reason=error.reason,
            retryable=error.retryable or type(error) is errors.SelfieError,
        )
    )
