"""Fault case 1: the operator is killed before and after every write of a run of three rounds."""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from fault_bench import Bench
from fault_stage import Stage
from invariants import EndState, broken, reference
from reliability import report
from request_faults import Passing

AT_A_TIME = int(os.environ.get("SELFIE_FAULTS_AT_A_TIME", "4"))


@dataclass
class Kills:
    """Kills the operator at the writes of these numbers, before or after they take effect."""

    stage: Stage
    numbers: frozenset[int]
    after: bool
    at: list[str] = field(default_factory=list)
    acted_s: list[float] = field(default_factory=list)
    _killed_s: float | None = None

    def arm(self) -> None:
        self.stage.proxy.before, self.stage.proxy.after = self.before, self.after_it

    async def before(self, passing: Passing) -> bool:
        if self._killed_s is not None and passing.number:
            self.acted_s.append(self._now() - self._killed_s)
            self._killed_s = None
        return not self.after and self._kill(passing)

    async def after_it(self, passing: Passing) -> bool:
        return self.after and self._kill(passing)

    def _kill(self, passing: Passing) -> bool:
        if passing.number not in self.numbers:
            return False
        self.at.append(str(passing))
        self._killed_s = self._now()
        (operator,) = self.stage.operators
        operator.kill()
        return True

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Outcome:
    """What became of one run; ``at`` are the writes at which it was killed."""

    points: str
    at: list[str]
    wrong: list[str]
    acted_s: list[float]


async def killed_at(bench: Bench, numbers: frozenset[int], after: bool, like: EndState) -> Outcome:
    points = f"{'after' if after else 'before'} writes {sorted(numbers)}"
    async with bench.stage() as stage:
        kills = Kills(stage, numbers, after)
        kills.arm()
        await stage.apply()
        stage.operate()
        try:
            await stage.ended(seconds=400)
            wrong = broken(stage, like=like)
        except AssertionError as error:
            wrong = [f"I5: it did not end: {error}"]
    return Outcome(points, kills.at, wrong, kills.acted_s)


async def all_killed(bench: Bench, *, every: int, apart: int | None = None) -> None:
    """At each ``every``-th point; a run is killed once, or again after every ``apart`` writes."""
    like, writes = await reference(bench)
    points = [(number, after) for number in range(1, writes + 1) for after in (False, True)][::every]
    plans = [
        (frozenset(range(number, writes + 1, apart or writes)), after)
        for number, after in points
        if apart is None or number <= apart
    ]
    turn, outcomes = asyncio.Semaphore(AT_A_TIME), []

    async def one(numbers: frozenset[int], after: bool) -> None:
        async with turn:
            outcomes.append(await killed_at(bench, numbers, after, like))
            if outcomes[-1].wrong:
                print(outcomes[-1].points, outcomes[-1].at, outcomes[-1].wrong, flush=True)

    async with asyncio.TaskGroup() as group:
        for plan in plans:
            group.create_task(one(*plan))
    report("1", **figures(writes, sum(len(numbers) for numbers, _ in plans), outcomes))
    assert [entry for entry in outcomes if entry.wrong] == []
    # Of these, 15 are the Lease's; the rest is a start on a machine that may be busy.
    assert max(second for entry in outcomes for second in entry.acted_s) <= 90


def figures(writes: int, points: int, outcomes: list[Outcome]) -> dict[str, Any]:
    acted = sorted(second for entry in outcomes for second in entry.acted_s)
    return {
        "fault": "kill -9 of the operator before and after every API write of a 3-round run",
        "writes_of_a_run": writes,
        "points": points,
        "kills": sum(len(entry.at) for entry in outcomes),
        "killed_at": dict(Counter(at for entry in outcomes for at in entry.at)),
        "runs": len(outcomes),
        "converged": sum(not entry.wrong for entry in outcomes),
        "duplicate_jobs": sum("I1" in wrong for entry in outcomes for wrong in entry.wrong),
        "acting_again_s": {
            "median": round(acted[len(acted) // 2], 1),
            "most": round(acted[-1], 1),
        },
    }


@pytest.mark.timeout(900)
async def test_killed_at_every_tenth_point_a_run_ends_as_if_nothing_had_happened(bench: Bench) -> None:
    await all_killed(bench, every=10)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_killed_at_any_point_a_run_ends_as_if_nothing_had_happened(bench: Bench) -> None:
    # Far enough apart for the run to go on undisturbed in between; points alone take three times as long.
    await all_killed(bench, every=1, apart=30)
