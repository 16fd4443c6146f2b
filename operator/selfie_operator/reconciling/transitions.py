"""What is worth an Event: read off two statuses, so that nothing is told that did not change."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from selfie.runs import reasons
from selfie.runs.conditions import ConditionType, condition_of, has_status
from selfie.runs.status import RoundStatus, RunStatus

EventType: TypeAlias = Literal["Normal", "Warning"]

ROUND_FINISHED = "RoundFinished"
ATTEMPT_FAILED = "AttemptFailed"
GATE_CROSSED = "GateCrossed"
ADMITTED = "Admitted"
RESUMED = "Resumed"


@dataclass(frozen=True)
class Transition:
    """One Event."""

    type: EventType
    reason: str
    note: str
    last: bool = False
    """Whether it is the end of the run."""


def transitions(before: RunStatus, after: RunStatus) -> tuple[Transition, ...]:
    """What happened between the two, in the order in which it did."""
    return (
        *_failed_attempt(before, after),
        *_rounds(before, after),
        *_suspension(before, after),
        *_stage(before, after),
        *_stall(before, after),
        *_end(before, after),
    )


def _failed_attempt(before: RunStatus, after: RunStatus) -> Iterator[Transition]:
    failed = after.failures
    if failed is None or (before.failures is not None and before.failures.count == failed.count):
        return
    yield Transition("Warning", ATTEMPT_FAILED, f"{after.step}, attempt {failed.attempt}: {failed.message}")


def _rounds(before: RunStatus, after: RunStatus) -> Iterator[Transition]:
    known = {entry.round: entry for entry in before.rounds}
    complete = has_status(after.conditions, "Complete", "True")
    for entry in after.rounds:
        crossed = known[entry.round].breaches if entry.round in known else ()
        if entry.breaches and not crossed:
            yield Transition("Warning", GATE_CROSSED, f"round {entry.round}: {'; '.join(entry.breaches)}")
        left = before.round == entry.round and before.attempt > 0 and (after.round > entry.round or complete)
        if left and not before.is_terminal:
            yield Transition("Normal", ROUND_FINISHED, _told(entry))


def _told(entry: RoundStatus) -> str:
    accuracy = entry.accuracy
    if accuracy is None:
        return f"round {entry.round} is finished"
    pairs = f" of {accuracy.n} pairs" if accuracy.n else ""
    return f"round {entry.round} is finished, with an accuracy of {accuracy.value:.1%}{pairs}"


def _suspension(before: RunStatus, after: RunStatus) -> Iterator[Transition]:
    was, now = (condition_of(status.conditions, "Suspended") for status in (before, after))
    if now is not None and now.status == "True":
        if was is None or was.status != "True" or was.reason != now.reason:
            yield Transition("Normal", now.reason, now.message)
    elif was is not None and was.status == "True" and not after.is_terminal:
        queued = was.reason == reasons.QUEUED
        yield (
            Transition("Normal", ADMITTED, "its turn has come")
            if queued
            else Transition("Normal", RESUMED, f"goes on at {after.step or 'its first step'}")
        )


def _stage(before: RunStatus, after: RunStatus) -> Iterator[Transition]:
    if after.stage is None or after.is_terminal:
        return
    if (before.round, before.stage) != (after.round, after.stage):
        yield Transition("Normal", reasons.OF_STAGE[after.stage], f"round {after.round}: {after.stage}")


def _stall(before: RunStatus, after: RunStatus) -> Iterator[Transition]:
    if after.is_terminal:
        return
    was, now = (condition_of(status.conditions, "Stalled") for status in (before, after))
    if now is None or now.status != "True":
        return
    if was is None or was.status != "True" or was.reason != now.reason:
        yield Transition("Warning", now.reason, now.message)


def _end(before: RunStatus, after: RunStatus) -> Iterator[Transition]:
    kinds: tuple[tuple[ConditionType, EventType], ...] = (("Complete", "Normal"), ("Failed", "Warning"))
    for kind, event_type in kinds:
        entry = condition_of(after.conditions, kind)
        if entry is not None and entry.status == "True" and not before.is_terminal:
            yield Transition(event_type, entry.reason, entry.message, last=True)
