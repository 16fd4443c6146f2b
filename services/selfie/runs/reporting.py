"""Writes a verdict into the status: conditions, progress, rounds, the best round, the clock."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from selfie.runs import reasons
from selfie.runs.actions import Outcome, Verdict
from selfie.runs.bookkeeping import Situation
from selfie.runs.conditions import ConditionStatus, ConditionType, new_condition, with_condition
from selfie.runs.observed import StoreObserved
from selfie.runs.round_reports import best_round, round_reports
from selfie.runs.status import RunStatus, derived_reason
from selfie.runs.timing import eta_seconds, paused_seconds

REWRITE_PROGRESS_S = 30.0
"""Progress within a step is written no more often than this: each write costs every watcher."""

_Told: TypeAlias = tuple[ConditionType, ConditionStatus, str, str]
"""Type, status, reason and message of a condition."""


def reported(at: Situation, verdict: Verdict) -> RunStatus:
    """The status after the verdict; the same one if nothing worth writing has changed."""
    if verdict.outcome is Outcome.OVER:
        return at.status
    status = at.status.model_copy(update={"observed_generation": max(at.observed.generation, 0)})
    status = _with_clock(status, verdict, at.now)
    if at.observed.store.ready:
        status = _with_rounds(status, at)
    progresses = _tells_progress(at, verdict)
    if progresses:
        status = _with_progress(status, at)
    conditions = (*_conditions(verdict), _condition_of_store(at.observed.store))
    return _with_conditions(status, conditions, at.now, keep_messages=not progresses)


def told(status: RunStatus, verdict: Verdict, *, generation: int, now: datetime) -> RunStatus:
    """The status with a verdict that no rule came to, because the planner could not be asked.

    The run waits for its turn, its specification cannot be carried out, or what must be known of it
    cannot be found out.
    """
    if status.start_time is None:
        status = status.model_copy(update={"start_time": now})
    status = status.model_copy(update={"observed_generation": max(generation, 0)})
    status = _with_clock(status, verdict, now)
    return _with_conditions(status, _conditions(verdict), now)


def _with_clock(status: RunStatus, verdict: Verdict, now: datetime) -> RunStatus:
    changes: dict[str, Any] = {}
    if verdict.reason != derived_reason(status) or status.reason_since is None:
        changes["reason_since"] = now
    waits = verdict.reason in reasons.STOP_THE_CLOCK
    if waits and status.paused_since is None:
        changes["paused_since"] = now
    if not waits and status.paused_since is not None:
        changes |= {"paused_since": None, "paused_seconds": paused_seconds(status, now)}
    if verdict.outcome in {Outcome.COMPLETE, Outcome.FAILED}:
        changes |= {"completion_time": now, "eta_seconds": None}
    return status.model_copy(update=changes)


def _tells_progress(at: Situation, verdict: Verdict) -> bool:
    status = at.status
    if verdict.reason != derived_reason(status) or status.progress_time is None:
        return True
    if status.progress != _progress(at):
        return True
    return not 0 <= (at.now - status.progress_time).total_seconds() < REWRITE_PROGRESS_S


def _progress(at: Situation) -> str:
    if not at.observed.store.ready:
        return at.status.progress
    return f"{len(at.steps) - len(at.rest)}/{len(at.steps)}"


def _with_progress(status: RunStatus, at: Situation) -> RunStatus:
    if not at.observed.store.ready:
        return status
    work = at.work
    part = min(max(work.done / work.total, 0.0), 1.0) if work and work.total > 0 else 0.0
    done, total = len(at.steps) - len(at.rest), len(at.steps)
    changes = {
        "progress": _progress(at),
        "fraction": min((done + part) / total, 1.0),
        "eta_seconds": eta_seconds(at.rest, at.observed.manifests, work) if at.step else None,
        "restarts": max(work.restarts, 0) if work else status.restarts,
    }
    if status.progress_time is not None and all(getattr(status, name) == changes[name] for name in changes):
        # The time alone is not worth a write: a run that waits is looked at, and stays as it is.
        return status
    return status.model_copy(update={**changes, "progress_time": at.now})


def _with_rounds(status: RunStatus, at: Situation) -> RunStatus:
    rounds = round_reports(at.spec, at.observed.manifests, at.evaluations)
    best = best_round(at.observed.manifests, at.evaluations)
    return status.model_copy(update={"rounds": rounds, "best": best})


def _with_conditions(
    status: RunStatus, told: Iterable[_Told], now: datetime, *, keep_messages: bool = False
) -> RunStatus:
    conditions = status.conditions
    old = {entry.type: entry for entry in conditions}
    for kind, state, reason, message in told:
        unchanged = keep_messages and kind in old and (old[kind].status, old[kind].reason) == (state, reason)
        new = new_condition(
            kind,
            state,
            reason,
            message=old[kind].message if unchanged else message,
            generation=status.observed_generation,
            now=now,
        )
        conditions = with_condition(conditions, new)
    return status.model_copy(update={"conditions": conditions})


def _conditions(verdict: Verdict) -> Iterator[_Told]:
    outcome, why = verdict.outcome, (verdict.reason, verdict.message)
    complete, failed = outcome is Outcome.COMPLETE, outcome is Outcome.FAILED
    suspended = outcome is Outcome.SUSPENDED
    # kstatus reads Stalled as the end of waiting: a failed run is stalled for good.
    stalled = failed or outcome is Outcome.STALLED
    yield "Succeeded", "True" if complete else "False" if failed else "Unknown", *why
    yield "Complete", _truth(complete), *why
    yield "Failed", _truth(failed), *(why if failed else (reasons.NOT_FAILED, ""))
    yield "Suspended", _truth(suspended), *(why if suspended else (reasons.NOT_SUSPENDED, ""))
    yield "Stalled", _truth(stalled), *(why if stalled else (reasons.NOT_STALLED, ""))
    yield "Reconciling", _truth(outcome is Outcome.ACTIVE or (suspended and bool(verdict.actions))), *why


def _condition_of_store(store: StoreObserved) -> _Told:
    if store.ready:
        return "ArtifactStoreReady", "True", reasons.STORE_READY, ""
    reason = reasons.well_formed(store.reason, otherwise=reasons.STORE_UNAVAILABLE)
    return "ArtifactStoreReady", "False", reason, store.message


def _truth(value: bool) -> ConditionStatus:
    return "True" if value else "False"
