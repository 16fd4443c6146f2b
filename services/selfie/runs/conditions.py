"""Conditions of a run's status, after the Kubernetes API conventions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import Field

from selfie.runs.records import StatusRecord, Time

ConditionType: TypeAlias = Literal[
    "Succeeded", "Complete", "Failed", "Suspended", "Stalled", "Reconciling", "ArtifactStoreReady"
]
ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]
MAX_MESSAGE = 2048


class Condition(StatusRecord):
    """One thing that is true, false or unknown of the run, and why."""

    type: ConditionType = Field(description="What is said to hold.")
    status: ConditionStatus = Field(description="Whether it holds.")
    reason: str = Field(
        max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", description="Why, for machines."
    )
    message: str = Field(default="", max_length=MAX_MESSAGE, description="Why, for people.")
    observed_generation: int = Field(
        default=0, ge=0, description="Generation of the spec that was looked at."
    )
    last_transition_time: Time = Field(description="When `status` last changed.")


def with_condition(conditions: Sequence[Condition], new: Condition) -> tuple[Condition, ...]:
    """The conditions with ``new`` in its type's place; its time moves only if its status changed."""
    old = condition_of(conditions, new.type)
    if old is not None and old.status == new.status:
        new = new.model_copy(update={"last_transition_time": old.last_transition_time})
    if old is None:
        return (*conditions, new)
    return tuple(new if entry.type == new.type else entry for entry in conditions)


def condition_of(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """The condition of that type, if it was ever set."""
    return next((entry for entry in conditions if entry.type == kind), None)


def shortened(message: str, limit: int = MAX_MESSAGE) -> str:
    """The message, or its end where it is too long: the last lines of a log say most."""
    return message if len(message) <= limit else f"…{message[-(limit - 1) :]}"


def has_status(conditions: Sequence[Condition], kind: ConditionType, status: ConditionStatus) -> bool:
    """Whether the condition was set to that status."""
    entry = condition_of(conditions, kind)
    return entry is not None and entry.status == status


def new_condition(
    kind: ConditionType,
    status: ConditionStatus,
    reason: str,
    *,
    message: str,
    generation: int,
    now: datetime,
) -> Condition:
    """A condition as of ``now``."""
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=shortened(message),
        observed_generation=generation,
        last_transition_time=now,
    )
