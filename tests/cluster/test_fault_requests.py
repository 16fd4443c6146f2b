"""Fault cases 2, 3 and 9: answers that get lost, writes that conflict, and a server that has enough."""

import asyncio
import copy
import itertools
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median

import pytest

from fault_bench import Bench
from fault_stage import Stage
from invariants import broken, reference
from reliability import report
from request_faults import Fault, LoseReply, Passing, Refuse, Twice
from selfie.errors import FailedPrecondition
from selfie.kube.objects import SELFIE_RUN

FOREIGN = "example.org/Approved"

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


async def both_lost_and_doubled(bench: Bench, runs: int) -> None:
    like, _ = await reference(bench)
    lost: Counter[str] = Counter()

    async def one(seed: int) -> list[str]:
        chance = random.Random(seed)

        def fault(passing: Passing) -> Fault | None:
            if not passing.number:
                return None
            if seed % 2:
                lost["doubled"] += 1
                return Twice()
            if chance.random() < 0.25:
                lost["lost"] += 1
                return LoseReply()
            return None

        async with bench.stage() as stage:
            stage.proxy.fault = fault
            await stage.apply()
            stage.operate()
            await stage.ended(seconds=600)
            return broken(stage, like=like)

    wrong = await asyncio.gather(*(one(seed) for seed in range(runs)))
    report(
        "2",
        fault="a quarter of all replies lost after the write took effect; every write delivered twice",
        runs=runs,
        replies_lost=lost["lost"],
        writes_doubled=lost["doubled"],
        converged=sum(not entry for entry in wrong),
        duplicate_jobs=sum("I1" in text for entry in wrong for text in entry),
    )
    assert wrong == [[]] * runs


async def test_answers_that_are_lost_and_writes_that_come_twice_change_nothing(bench: Bench) -> None:
    await both_lost_and_doubled(bench, 2)


async def test_answers_that_are_lost_and_writes_that_come_twice_change_nothing_in_many_runs(
    bench: Bench,
) -> None:
    await both_lost_and_doubled(bench, 8)


@dataclass(frozen=True)
class Disputed:
    """A run whose status somebody else wrote, too, and what was ``left`` of the other's last word."""

    conflicts: int
    left: str
    tries: list[int]
    most_in_a_second: int
    wrong: list[str]


class Foreigner:
    """Writes a condition of its own ahead of a third of the operator's status writes."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.chance, self.written = stage, random.Random(3), 0

    async def before(self, passing: Passing) -> bool:
        if passing.resource == "selfieruns/status" and self.chance.random() < 0.3:
            await self.write()
        return False

    async def write(self) -> None:
        api, found = self.stage.bench.api, None
        while found is None:
            found = await api.get(SELFIE_RUN, "run", namespace=self.stage.namespace)
        status = copy.deepcopy(found.get("status") or {})
        others = [entry for entry in status.get("conditions", []) if entry["type"] != FOREIGN]
        mine = {
            "type": FOREIGN,
            "status": "True",
            "reason": "ByHand",
            "message": f"{self.written + 1}",
            "lastTransitionTime": "2026-03-01T12:00:00Z",
        }
        status["conditions"] = [*others, mine]
        try:
            await api.replace(SELFIE_RUN, {**found, "status": status}, subresource="status")
        except FailedPrecondition:
            return
        self.written += 1


async def conflicting(bench: Bench, runs: int) -> None:
    like, _ = await reference(bench)
    turn = asyncio.Semaphore(4)

    async def one() -> Disputed:
        async with turn, bench.stage() as stage:
            foreigner = Foreigner(stage)
            stage.proxy.before = foreigner.before
            await stage.apply()
            stage.operate()
            await stage.ended(seconds=600)
            found = stage.run()
            assert found
            [left] = [entry for entry in found["status"]["conditions"] if entry["type"] == FOREIGN]
            return Disputed(
                conflicts=foreigner.written,
                left=left["message"],
                tries=_tries(stage),
                most_in_a_second=_most_in_a_second(stage),
                wrong=broken(stage, like=like),
            )

    disputed = await asyncio.gather(*(one() for _ in range(runs)))
    tries = [number for entry in disputed for number in entry.tries]
    report(
        "3",
        fault="30 % of status writes conflict with a foreign writer of the status",
        runs=runs,
        conflicts=sum(entry.conflicts for entry in disputed),
        foreign_conditions_lost=sum(entry.left != f"{entry.conflicts}" for entry in disputed),
        tries={"median": median(tries), "most": max(tries)},
        status_writes_in_a_second_most=max(entry.most_in_a_second for entry in disputed),
        converged=sum(not entry.wrong for entry in disputed),
    )
    assert [entry.wrong for entry in disputed] == [[]] * runs
    assert min(entry.conflicts for entry in disputed) > 3
    assert [entry.left for entry in disputed] == [f"{entry.conflicts}" for entry in disputed]
    assert median(tries) <= 5


async def test_a_third_of_status_writes_conflict_and_nothing_of_others_is_lost(bench: Bench) -> None:
    await conflicting(bench, 1)


@pytest.mark.timeout(1800)
async def test_a_third_of_status_writes_of_many_runs_conflict_and_nothing_of_others_is_lost(
    bench: Bench,
) -> None:
    await conflicting(bench, 20)


def _tries(stage: Stage) -> list[int]:
    """How many writes it took for each that succeeded."""
    tries, now = [], 0
    for _, passing, code in stage.proxy.passed:
        if passing.resource == "selfieruns/status":
            now += 1
            if code == 200:
                tries.append(now)
                now = 0
    return tries


def _most_in_a_second(stage: Stage) -> int:
    times = [at for at, passing, _ in stage.proxy.passed if passing.resource == "selfieruns/status"]
    return max(sum(0 <= later - at < 1 for later in times) for at in times)


async def pressed(bench: Bench, seconds: float) -> None:
    like, _ = await reference(bench)
    wrong, figures = [], {}
    for name, refusal in (
        ("429", Refuse(429, "TooManyRequests", retry_after_s=4)),
        ("500", Refuse(500, "InternalError")),
        ("503", Refuse(503, "ServiceUnavailable", retry_after_s=4)),
    ):
        async with bench.stage() as stage:
            await stage.apply()
            stage.operate()
            await stage.until(lambda stage=stage: stage.status().round >= 1)
            stage.proxy.fault = _but_leases(refusal)
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(seconds)
            stage.proxy.fault = lambda passing: None
            ended = asyncio.get_running_loop().time()
            asked = [
                (at, passing)
                for at, passing, _ in stage.proxy.passed
                if began <= at <= ended and passing.resource not in {"leases", "events"}
            ]
            figures[name] = round(
                sum(passing.verb not in {"list", "watch"} for _, passing in asked) / seconds, 2
            )
            if refusal.retry_after_s:
                gaps = _gaps(asked)
                assert min(gaps.values()) >= refusal.retry_after_s * 0.9, (name, gaps)
            await stage.ended(seconds=400)
            wrong += broken(stage, like=like)
    report(
        "9",
        fault=f"every request refused for {seconds:g} s: 429 and 503 with Retry-After, 500 without",
        runs=3,
        requests_a_second=figures,
        converged=3 if not wrong else 0,
    )
    assert wrong == []
    assert max(figures.values()) <= 1


def _but_leases(refusal: Refuse):
    return lambda passing: None if passing.resource == "leases" else refusal


def _gaps(asked: list[tuple[float, Passing]]) -> dict[str, float]:
    """Seconds between two tries, the fewest, of each request of runs that was tried again."""
    times = defaultdict(list)
    for at, passing in asked:
        if passing.resource.startswith("selfieruns"):
            times[str(passing)].append(at)
    return {
        request: min(after - before for before, after in itertools.pairwise(found))
        for request, found in times.items()
        if len(found) > 1
    }


async def test_a_server_that_has_enough_is_let_alone_and_no_run_fails_by_it(bench: Bench) -> None:
    await pressed(bench, 20)


@pytest.mark.timeout(1800)
async def test_a_server_that_has_enough_for_five_minutes_is_let_alone(bench: Bench) -> None:
    await pressed(bench, 300)
