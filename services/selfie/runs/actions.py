"""What the planner decides: actions on the present step, and the services that are wanted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from selfie.runs.lineage import Input, Source
from selfie.runs.steps import Step
from selfie.runs.wanted import ServiceWanted


@dataclass(frozen=True)
class StartStep:
    """Start this attempt, or take it up again; starting one that runs or is done changes nothing."""

    step: Step
    attempt: int
    inputs: Mapping[str, Input] = field(default_factory=dict)


@dataclass(frozen=True)
class CancelStep:
    """Stop this attempt and release what it holds; what it has finished stays."""

    step: Step
    attempt: int


@dataclass(frozen=True)
class WorkAhead:
    """Do of the next step what can be done before the present one has ended, beside it.

    ``source``: what the present attempt at a step is making, by its number. It is asked for with
    every look, ends by itself, and nothing waits for it: what was done is found by the step itself.
    """

    step: Step
    source: Source
    attempt: int
    inputs: Mapping[str, Input] = field(default_factory=dict)


Action: TypeAlias = StartStep | CancelStep | WorkAhead


class Outcome(StrEnum):
    """How a run stands, from which its conditions follow."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    STALLED = "stalled"
    FAILED = "failed"
    COMPLETE = "complete"
    OVER = "over"
    """It had ended before; its status stays as it is."""


@dataclass(frozen=True)
class Verdict:
    """What a rule found, and what is to be done about it.

    ``services``: those wanted now; None leaves alone whatever is there.
    ``requeue_after_s``: when to look again even if nothing is heard; None needs no look.
    """

    outcome: Outcome
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    services: Mapping[str, ServiceWanted] | None = field(default_factory=dict)
    requeue_after_s: float | None = None
