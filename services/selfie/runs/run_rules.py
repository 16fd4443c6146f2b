"""Rules that end or halt a run, or let it rest: they look at the run as a whole."""

from datetime import timedelta

from selfie.runs import reasons
from selfie.runs.actions import CancelStep, Outcome, Verdict
from selfie.runs.bookkeeping import Situation
from selfie.runs.timing import active_seconds, stage_seconds

LOOK_SOON_S = 2.0
LOOK_LATER_S = 30.0


def run_is_over(at: Situation) -> Verdict | None:
    """It ended before. What it may have left behind is still released."""
    if not at.status.is_terminal:
        return None
    ttl, ended = at.spec.ttl_seconds_after_finished, at.status.completion_time
    expires = ended + timedelta(seconds=ttl) if ttl is not None and ended else None
    wait = max((expires - at.now).total_seconds(), 0.0) if expires else None
    actions = _release(at)
    return Verdict(Outcome.OVER, "", "", actions, requeue_after_s=LOOK_SOON_S if actions else wait)


def cancel_was_asked_for(at: Situation) -> Verdict | None:
    """`spec.cancel`: the end, whatever else holds."""
    if not at.spec.cancel:
        return None
    return failed(at, reasons.CANCELLED, f"cancelled on request {_place(at)}; what was published stays")


def suspend_was_asked_for(at: Situation) -> Verdict | None:
    """`spec.suspend`: everything is released, and what is done stays."""
    if not at.spec.suspend:
        return None
    message = f"suspended on request {_place(at)}; set spec.suspend to false to go on"
    actions = _release(at)
    wait = LOOK_SOON_S if actions else None
    return Verdict(Outcome.SUSPENDED, reasons.SUSPENDED, message, actions, requeue_after_s=wait)


def store_is_unavailable(at: Situation) -> Verdict | None:
    """Without the manifests nothing is known; what runs is left to run."""
    store = at.observed.store
    if store.ready:
        return None
    message = (
        f"the artifact store cannot be used: {store.message or 'no answer'}; the run goes on when it can"
    )
    reason = reasons.well_formed(store.reason, otherwise=reasons.STORE_UNAVAILABLE)
    return Verdict(Outcome.STALLED, reason, message, services=None, requeue_after_s=LOOK_LATER_S)


def every_step_is_published(at: Situation) -> Verdict | None:
    """All manifests are there, or a gate ended the run early."""
    if at.step is not None:
        return None
    last = at.evaluations[-1] if at.evaluations else None
    rounds = len(at.spec.rounds)
    if last and last.breaches and last.round < rounds:
        message = f"stopped after round {last.round} of {rounds}: {'; '.join(last.breaches)}"
        return Verdict(Outcome.COMPLETE, reasons.GATE_BREACHED, message, _release(at))
    message = "the only round is published" if rounds == 1 else f"all {rounds} rounds are published"
    return Verdict(Outcome.COMPLETE, reasons.COMPLETED, message, _release(at))


def run_deadline_has_passed(at: Situation) -> Verdict | None:
    """`deadlines.runSeconds`, not counting time that the run could not use."""
    limit = at.spec.deadlines.run_seconds
    if limit is None or active_seconds(at.status, at.now) < limit:
        return None
    message = f"the run took longer than spec.deadlines.runSeconds ({limit}) {_place(at)}"
    return failed(at, reasons.RUN_DEADLINE_EXCEEDED, message)


def stage_deadline_has_passed(at: Situation) -> Verdict | None:
    """`deadlines.stageSeconds`, over all attempts at the stage."""
    limit = at.spec.deadlines.stage_seconds
    if limit is None or stage_seconds(at.status, at.now) < limit:
        return None
    message = (
        f"the stage {at.status.stage} took longer than spec.deadlines.stageSeconds ({limit}) {_place(at)}"
    )
    return failed(at, reasons.STAGE_DEADLINE_EXCEEDED, message)


def failed(at: Situation, reason: str, message: str) -> Verdict:
    """The end of a run that cannot succeed with this specification."""
    actions = _release(at)
    return Verdict(Outcome.FAILED, reason, message, actions, requeue_after_s=LOOK_SOON_S if actions else None)


def _release(at: Situation) -> tuple[CancelStep, ...]:
    work = at.observed.work
    return (CancelStep(work.step, work.attempt),) if work and work.is_live else ()


def _place(at: Situation) -> str:
    return f"at {at.status.step}" if at.status.step else "before its first step"
