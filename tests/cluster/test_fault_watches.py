"""Fault cases 4, 5 and 8: stale and unreliable watches, and a server that goes away."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from fault_bench import Bench
from fault_stage import Stage
from invariants import EndState, broken, end_state, reference
from reliability import report
from request_faults import Passing

RESOURCES = ("selfieruns", "jobs", "pods", "services", "deployments")

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


async def stale(bench: Bench, seconds: float) -> None:
    like, _ = await reference(bench)
    told: list[tuple[str, bytes]] = []

    def remember(resource: str, line: bytes) -> Iterable[bytes]:
        told.append((resource, line))
        return (line,)

    async with bench.stage() as stage:
        stage.proxy.changes = remember
        await stage.apply()
        stage.operate()
        await stage.come_to("rounds/01/score")
        stage.proxy.held = set(RESOURCES)
        before = len(stage.proxy.passed)
        await asyncio.sleep(seconds)
        rate = len([entry for entry in stage.proxy.passed[before:] if entry[1].number]) / seconds
        stage.proxy.held = set()
        await stage.ended(seconds=400)
        await asyncio.sleep(3)
        first = len(stage.proxy.passed)
        replayed = [entry for entry in told if b'"type":"BOOKMARK"' not in entry[1]]
        for resource, line in replayed:
            await stage.proxy.tell(resource, line)
        await asyncio.sleep(15)
        caused = [entry for entry in stage.proxy.passed[first:] if entry[1].number]
        wrong = broken(stage, like=like)
    report(
        "4",
        fault=f"all watches held for {seconds:g} s; after the end all that they ever told told again",
        runs=1,
        changes_replayed=len(replayed),
        writes_caused_by_the_replay=sum(code < 400 for _, _, code in caused),
        refused_as_outdated=sum(code == 409 for _, _, code in caused),
        writes_a_second_while_held=round(rate, 2),
        converged=int(not wrong),
    )
    assert wrong == []
    # A status of long ago may be believed once more; what follows from it is refused as outdated.
    assert [(str(passing), passing.body) for _, passing, code in caused if code != 409] == []


async def test_what_watches_tell_late_and_again_causes_nothing(bench: Bench) -> None:
    await stale(bench, 15)


@pytest.mark.timeout(1800)
async def test_what_watches_tell_ten_minutes_late_causes_nothing(bench: Bench) -> None:
    await stale(bench, 600)


class Chaos:
    """Drops three in ten changes, tells two in ten of them ten times, and two in ten after the next one."""

    def __init__(self, seed: int) -> None:
        self.chance, self.late, self.touched = random.Random(seed), {}, 0

    def __call__(self, resource: str, line: bytes) -> Iterable[bytes]:
        late = self.late.pop(resource, [])
        kind = self.chance.random()
        self.touched += kind < 0.7
        if kind < 0.3:
            return late
        if kind < 0.5:
            return [line] * 10 + late
        if kind < 0.7 and not late:
            self.late[resource] = [line]
            return []
        return [line, *late]


@pytest.mark.parametrize("seeds", [range(2), range(2, 12)], ids=["two", "ten"])
async def test_changes_that_are_dropped_doubled_and_out_of_order_change_nothing(
    bench: Bench, seeds: range
) -> None:
    like, _ = await reference(bench)
    touched = 0

    async def one(seed: int) -> list[str]:
        nonlocal touched
        chaos = Chaos(seed)
        async with bench.stage() as stage:
            stage.proxy.changes = chaos
            await stage.apply()
            stage.operate(relist_seconds=8)
            await stage.ended(seconds=600)
            touched += chaos.touched
            return broken(stage, like=like)

    turn = asyncio.Semaphore(4)

    async def in_turn(seed: int) -> list[str]:
        async with turn:
            return await one(seed)

    wrong = await asyncio.gather(*(in_turn(seed) for seed in seeds))
    report(
        "5",
        fault="of all watches' changes 30 % dropped, 20 % told ten times, 20 % out of order",
        runs=len(seeds),
        changes_touched=touched,
        converged=sum(not entry for entry in wrong),
    )
    assert wrong == [[]] * len(seeds)


async def restarted(bench: Bench, runs: int, servers: int, stores: int) -> None:
    like, _ = await reference(bench)
    loop, acting = asyncio.get_running_loop(), []
    async with bench.stage() as stage:
        for number in range(runs):
            await stage.apply(f"run{number}")
        stage.operate()
        names = [f"run{number}" for number in range(runs)]
        await stage.until(lambda: all(stage.status(name).attempt for name in names), seconds=120)
        for component in ["kube-apiserver"] * servers + ["etcd"] * stores:
            await asyncio.to_thread(bench.cluster.restart, component)
            back, before = loop.time(), len(stage.proxy.passed)
            if all(stage.status(name).is_terminal for name in names):
                break
            await stage.until(lambda before=before: _written(stage, before), seconds=60)
            acting.append(loop.time() - back)
        for name in names:
            await stage.ended(name, seconds=500)
        wrong = {name: broken(stage, name) for name in names}
        different = {name: stage.status(name) for name in names if not _same(stage, name, like)}
    report(
        "8",
        fault=f"API server killed {servers} times and etcd {stores} times during {runs} runs",
        runs=runs,
        outages=len(acting),
        failed_by_it=sum(bool(entry) for entry in wrong.values()) + len(different),
        acting_again_s={"most": round(max(acting), 1)},
    )
    assert not any(wrong.values()), wrong
    assert different == {}
    assert max(acting) <= 60


def _written(stage: Stage, before: int) -> bool:
    return any(code in {200, 201} and _acts(passing) for _, passing, code in stage.proxy.passed[before:])


def _acts(passing: Passing) -> bool:
    return passing.number > 0


def _same(stage: Stage, name: str, like: EndState) -> bool:
    return end_state(stage, name).steps == like.steps


async def test_servers_that_are_killed_fail_no_run(bench: Bench) -> None:
    await restarted(bench, runs=3, servers=2, stores=1)


@pytest.mark.timeout(3600)
async def test_servers_that_are_killed_again_and_again_fail_no_run(bench: Bench) -> None:
    await restarted(bench, runs=50, servers=20, stores=5)
