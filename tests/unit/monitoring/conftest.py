from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from selfie.monitoring.boards import RunBoard
from selfie.runs.conditions import new_condition
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary, Observed, WorkObserved
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus
from selfie.runs.steps import Step

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: hf://toy/model}
  seed: {dataset: seed.jsonl, heldout: heldout.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl, count: 8}
  evaluation: {prompts: {dataset: prompts.jsonl, from: 8, count: 8}}
"""


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def passes(self, **amount: float) -> None:
        self.time += timedelta(**amount)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> RunBoard:
    return RunBoard(now=clock)


@pytest.fixture
def spec_of() -> Callable[..., RunSpec]:
    """The toy run's specification with other fields."""

    def make(**fields: Any) -> RunSpec:
        return parse_run(RUN).spec.model_copy(update=fields)

    return make


@pytest.fixture
def status_of() -> Callable[..., RunStatus]:
    """A status with one condition that holds, beside `Succeeded`."""

    def make(condition: str | None = None, reason: str = "Generating", **fields: Any) -> RunStatus:
        kinds = ("Succeeded", *([condition] if condition else []))
        conditions = tuple(
            new_condition(kind, "True", reason, message="", generation=1, now=START) for kind in kinds
        )
        return RunStatus(start_time=START, conditions=conditions, **fields)

    return make


@pytest.fixture
def observed_of() -> Callable[..., Observed]:
    """What a look finds: measures by path of their step, counts, and seconds of each."""

    def make(
        measures: dict[str, dict[str, float]],
        counts: dict[str, dict[str, int]] | None = None,
        *,
        seconds: float = 10.0,
        work: tuple[int, int] | None = None,
    ) -> Observed:
        counts = counts or {}
        manifests = {
            path: ManifestSummary(
                sha256="a", counts=counts.get(path, {}), measures=measures.get(path, {}), seconds=seconds
            )
            for path in {**measures, **counts}
        }
        done = work and WorkObserved(Step(1, "generate"), 1, "running", done=work[0], total=work[1])
        return Observed(manifests=manifests, work=done or None)

    return make
