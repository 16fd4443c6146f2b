"""Rules about the present step: from the failure of its last attempt to the start of the next."""

from dataclasses import replace

from selfie.runs import reasons
from selfie.runs.actions import Outcome, StartStep, Verdict, WorkAhead
from selfie.runs.bookkeeping import Situation
from selfie.runs.lineage import Input, pin, sources_of
from selfie.runs.observed import ServiceObserved, WorkObserved
from selfie.runs.run_rules import LOOK_LATER_S, LOOK_SOON_S, failed
from selfie.runs.steps import ENGINE, SCORING, Step
from selfie.runs.timing import next_attempt_at
from selfie.runs.wanted import (
    ON_ACCELERATOR,
    ServiceWanted,
    kept_over,
    kept_warm,
    services_for,
    started_ahead,
    still_held,
)

LOOK_AT_WORK_S = 5.0


def inputs_are_incomplete(at: Situation) -> Verdict | None:
    """A published manifest does not name what the step must read."""
    step = at.present
    sources = at.sources
    missing = sorted(sources.keys() - pin(sources, at.observed.manifests).keys())
    if not missing:
        return None
    where = ", ".join(f"{role} ({sources[role].group} of {sources[role].step})" for role in missing)
    return failed(at, reasons.INPUTS_INCOMPLETE, f"{step.path} cannot find its {where}; start a new run")


def failure_is_final(at: Situation) -> Verdict | None:
    """The last attempt failed, and no other was begun after it."""
    failures = at.status.failures
    if failures is None or failures.attempt != at.status.attempt:
        return None
    what = f"attempt {failures.attempt} at {at.present.path} failed: {failures.message}"
    if not failures.retryable:
        return failed(at, reasons.well_formed(failures.reason, otherwise=reasons.STEP_FAILED), what)
    message = f"{failures.count} attempts failed, and spec.retries is {at.spec.retries}; {what}"
    return failed(at, reasons.RETRIES_EXHAUSTED, message)


def attempt_must_wait(at: Situation) -> Verdict | None:
    """The pause after a failure is not over."""
    failures = at.status.failures
    if failures is None or (at.work is not None and at.work.state != "absent"):
        return None
    wait = (next_attempt_at(failures) - at.now).total_seconds()
    if wait <= 0:
        return None
    message = f"attempt {at.status.attempt} at {at.present.path} follows a failure: {failures.message}"
    return _waiting(at, reasons.BACKING_OFF, message, wait=wait)


def service_cannot_come_back(at: Situation) -> Verdict | None:
    """Work goes on or waits to begin, and a service that it needs cannot become ready by itself.

    The work is let wait: it keeps what it has done, and goes on with the service.
    """
    if at.work is None or not at.work.is_live:
        return None
    for name in _needed(at):
        seen = at.observed.services.get(name)
        if seen is not None and not seen.ready and seen.reason in reasons.STALLING:
            message = f"{_so_far(at.work)}, and cannot go on without its {name}: {seen.message}"
            return _waiting(at, seen.reason, message, wait=LOOK_LATER_S)
    return None


def work_is_pending(at: Situation) -> Verdict | None:
    """It was accepted, and waits for a queue, for capacity or for its image."""
    work = at.work
    if work is None or work.state != "pending":
        return None
    reason = reasons.well_formed(work.reason, otherwise=reasons.QUEUED)
    message = f"{at.present.path} has not begun: {work.message or reason}"
    return _waiting(at, reason, message, wait=LOOK_LATER_S)


def work_is_running(at: Situation) -> Verdict | None:
    """It is let run."""
    work = at.work
    if work is None or work.state != "running":
        return None
    return replace(_at_work(at, _so_far(work), wait=LOOK_AT_WORK_S), actions=_ahead(at))


def manifest_is_not_yet_seen(at: Situation) -> Verdict | None:
    """It says that it succeeded; its manifest was published after the manifests were looked at."""
    if at.work is None or at.work.state != "succeeded":
        return None
    message = f"{at.present.path} has ended, and its manifest is expected"
    return _waiting(at, reasons.MANIFEST_NOT_YET_SEEN, message, wait=LOOK_SOON_S)


def accelerator_is_still_held(at: Situation) -> Verdict | None:
    """With `gpu: shared`, the next one asks for the accelerator only when the last has left it."""
    held = still_held(at.spec, _wanted(at), at.observed.services)
    if not held:
        return None
    message = f"{at.present.path} waits until {', '.join(sorted(held))} has let go of the accelerator"
    return _waiting(at, reasons.WAITING_FOR_ACCELERATOR, message, wait=LOOK_SOON_S)


def services_are_not_ready(at: Situation) -> Verdict | None:
    """A service that the step needs is not there, not ready, or holds other weights."""
    found = at.observed.services
    waiting = [entry for entry in _needed(at).values() if not entry.is_served_by(found.get(entry.name))]
    if not waiting:
        return None
    name = waiting[0].name
    seen = found.get(name, ServiceObserved(ready=False))
    reason = reasons.well_formed(seen.reason, otherwise=reasons.WAITING_FOR_SERVICES)
    message = f"{at.present.path} waits for {name}: {seen.message or _shortfall(waiting[0], seen)}"
    return _waiting(at, reason, message, wait=LOOK_SOON_S)


def step_is_due(at: Situation) -> Verdict | None:
    """Everything is there: it is started, or taken up again after its process was lost."""
    step, status = at.present, at.status
    start = StartStep(step, status.attempt, _inputs(at))
    verdict = _at_work(at, f"{step.path} begins, attempt {status.attempt}", wait=LOOK_SOON_S)
    return replace(verdict, actions=(start,))


def _ahead(at: Situation) -> tuple[WorkAhead, ...]:
    """Samples are scored while others are drawn, where engine and scoring workers need not take turns."""
    if at.present.name != "generate" or at.following is None or at.following.name != "score":
        return ()
    pinned = pin(at.sources_after, at.observed.manifests)
    scoring = started_ahead(at.spec, at.following, pinned).get(SCORING)
    if scoring is None or not scoring.is_served_by(at.observed.services.get(SCORING)):
        return ()
    return (WorkAhead(at.following, at.sources_after["samples"], at.status.attempt, pinned),)


def _so_far(work: WorkObserved) -> str:
    return f"{work.step.path}: {work.done} of {work.total}" if work.total > 0 else work.step.path


def _at_work(at: Situation, message: str, *, wait: float) -> Verdict:
    return _waiting(at, reasons.OF_STAGE[at.present.stage], message, wait=wait)


def _waiting(at: Situation, reason: str, message: str, *, wait: float) -> Verdict:
    outcome = Outcome.STALLED if reason in reasons.STALLING else Outcome.ACTIVE
    return Verdict(outcome, reason, message, services=_services(at), requeue_after_s=wait)


def _inputs(at: Situation) -> dict[str, Input]:
    return pin(at.sources, at.observed.manifests)


def _needed(at: Situation) -> dict[str, ServiceWanted]:
    return services_for(at.present, _inputs(at))


def _wanted(at: Situation) -> dict[str, ServiceWanted]:
    ahead = started_ahead(at.spec, at.following, pin(at.sources_after, at.observed.manifests))
    warm = kept_warm(at.spec, at.present, at.rest, _inputs(at).get("policy"))
    return {**_kept_to_be_moved(at), **ahead, **warm, **_needed(at)}


def _kept_to_be_moved(at: Situation) -> dict[str, ServiceWanted]:
    """The engine with the weights that it has, where it can be moved to those that are still to be made."""
    if not at.observed.engine_moves or ENGINE not in at.observed.services:
        return {}
    number = at.present.round
    sampled = Step(number, "generate") if number else Step(0, "evaluate-initial")
    sources = sources_of(at.spec, sampled, at.evaluations, at.added)
    return kept_over(at.spec, at.rest, pin(sources, at.observed.manifests).get("policy"))


def _services(at: Situation) -> dict[str, ServiceWanted]:
    wanted, found = _wanted(at), at.observed.services
    if not still_held(at.spec, wanted, found):
        return wanted
    # One that is there already keeps its place; only a new one waits for the accelerator.
    return {name: entry for name, entry in wanted.items() if name not in ON_ACCELERATOR or name in found}


def _shortfall(wanted: ServiceWanted, found: ServiceObserved) -> str:
    if not found.ready:
        return "it is not ready"
    held = ", ".join(f"{role} {digest[:12]}" for role, digest in sorted(found.digests.items()) if digest)
    named = ", ".join(f"{role} {(entry.weights_digest or '')[:12]}" for role, entry in wanted.weights.items())
    return f"it holds {held or 'no weights'}, and {named or 'none'} is wanted"
