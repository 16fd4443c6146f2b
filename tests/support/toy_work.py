"""Work and services of the planner's toy world, and the crashes that may come between."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from selfie.runs.actions import StartStep
from selfie.runs.observed import WorkObserved
from selfie.runs.spec import RunSpec
from selfie.runs.steps import Step

START = datetime(2026, 1, 1, tzinfo=UTC)

WEIGHTS = {
    "prepare": ("model", "reference"),
    "seed": ("checkpoint",),
    "train": ("checkpoint",),
    "publish": ("checkpoint",),
}

ON_ACCELERATOR = {"seed", "train", "evaluator", "evaluate-ratings"}
"""Programs that hold the accelerator while they work."""


class CrashError(Exception):
    """The process that carries plans out dies here."""


class Disturbance:
    """Counts the moments at which a crash could come, and crashes at the chosen ones."""

    def __init__(self, *moments: int, always: bool = False) -> None:
        self.moments = set(moments)
        self.always = always
        self.passed: set[tuple[str, str]] = set()
        self.count = 0

    def here(self, kind: str, what: str) -> None:
        self.count += 1
        first = (kind, what) not in self.passed
        self.passed.add((kind, what))
        if self.count in self.moments or (self.always and first):
            raise CrashError(f"{kind} {what}")


@dataclass
class Work:
    """An attempt's work: one shard a tick; finished shards stay when it is stopped or lost."""

    start: StartStep
    state: str = "running"
    done: int = 0
    total: int = 2
    message: str = ""
    reason: str = ""
    retryable: bool = True
    restarts: int = 0

    def seen(self, step: Step, attempt: int) -> WorkObserved:
        """What the planner is told of it."""
        return WorkObserved(
            step,
            attempt,
            self.state,  # type: ignore[arg-type]
            done=self.done,
            total=self.total,
            message=self.message,
            reason=self.reason,
            retryable=self.retryable,
            restarts=self.restarts,
        )


@dataclass
class Service:
    digests: Mapping[str, str]
    ready: bool = False
    stopping: bool = False


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def groups_of(spec: RunSpec, step: Step) -> frozenset[str]:
    """Groups of files in the step's manifest."""
    if step.name != "prepare":
        return frozenset({"samples", "responses", "pairs", "checkpoint", "evaluator", "ratings"})
    rounds = range(1, len(spec.rounds) + 1) if step.round == 0 else [step.round]
    of_run = {"model", "reference", "seed", "heldout", "evaluation-prompts", "evaluator"}
    first = of_run if step.round == 0 else set()
    return frozenset({f"prompts-round-{number:02d}" for number in rounds} | first)
