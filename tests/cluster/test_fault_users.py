"""Fault cases 14, 16 and 21: what people, queues and quotas do to a run and to its Jobs."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

import pytest

from clusters import apply
from fault_bench import Bench
from fault_stage import Stage
from holding import Held, jobs_of
from invariants import EndState, broken, end_state, reference
from queue_controller import Flavour, QueueController
from reliability import report
from request_faults import Passing
from selfie.kube.objects import JOB, SELFIE_RUN, name_of, uid_of
from selfie.runs.conditions import has_status

STEPS = (
    "prepare",
    "rounds/00/seed",
    "rounds/00/publish",
    "rounds/00/serve",
    *(
        f"rounds/{number:02d}/{name}"
        for number in (1, 2, 3)
        for name in ("generate", "score", "filter", "train", "publish", "serve")
    ),
)
FEW = ("prepare", "rounds/01/generate", "rounds/02/train")
TRAIN = "rounds/02/train"
HERE = Flavour("here")

pytestmark = pytest.mark.timeout(900)


def alike(stage: Stage, like: EndState, *, attempts: dict[str, int] | None = None) -> list[str]:
    """What is wrong with a run that was meddled with: it published the same, in these attempts."""
    wrong, found = broken(stage), end_state(stage)
    if found.steps != like.steps:
        wrong.append("I5: other steps were published")
    if found.attempts != like.attempts | (attempts or {}):
        wrong.append(f"I5: attempts are {found.attempts}")
    return wrong


@pytest.mark.faults
async def test_a_job_that_is_deleted_by_hand_costs_one_attempt_and_changes_no_result(bench: Bench) -> None:
    like, _ = await reference(bench)
    async with bench.stage() as stage:
        held = Held(bench, stage, TRAIN)
        await stage.apply(retries=5)
        stage.operate()
        times = 3
        for number in range(1, times + 1):
            await held.trains(number)
            [job] = await jobs_of(stage, TRAIN)
            await bench.api.delete(JOB, name_of(job), uid=uid_of(job), namespace=stage.namespace)
            await stage.until(lambda number=number: stage.status().attempt == number + 1, seconds=300)
        held.let_go = True
        await stage.ended(seconds=400)
        wrong = alike(stage, like, attempts={TRAIN: times + 1})
    report(
        "14, deleted",
        fault="the training's Job deleted by hand, in each of three attempts",
        runs=1,
        attempts=times + 1,
        starts=len(held.pods),
        identical=int(not wrong),
    )
    assert wrong == []
    assert len(held.pods) == times + 1


@pytest.mark.faults
async def test_a_job_that_its_queue_evicts_three_times_stays_one_attempt(bench: Bench) -> None:
    like, _ = await reference(bench)
    async with bench.stage() as stage:
        held = Held(bench, stage, TRAIN)
        bench.node.labels = HERE.selector
        queue = QueueController(bench.api, stage.namespace, "team-queue", HERE)
        stage.tasks.append(asyncio.create_task(queue.run()))
        await stage.apply(queue="team-queue")
        stage.operate()
        for number in range(1, 4):
            await held.trains(number)
            queue.is_open = False
            [job] = await jobs_of(stage, TRAIN)
            await queue.evict(name_of(job))
            await stage.until(lambda: has_status(stage.status().conditions, "Succeeded", "Unknown"))
            await asyncio.sleep(2)
            queue.is_open = True
        await held.trains(4)
        [job] = await jobs_of(stage, TRAIN)
        label, charged = (
            job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"],
            job["status"].get("failed", 0),
        )
        await stage.until(lambda: stage.status().restarts == 3, seconds=60)
        held.let_go = True
        await stage.ended(seconds=400)
        wrong = alike(stage, like)
    report(
        "14, evicted",
        fault="the training's Job suspended by its queue three times, and admitted again",
        runs=1,
        attempts=1,
        restarts=3,
        charged_to_retries=charged,
        identical=int(not wrong),
    )
    assert wrong == []
    assert (label, charged) == ("team-queue", 0)


class At:
    """Does something at the moment in which the operator has said that a step is begun."""

    def __init__(self, stage: Stage, step: str) -> None:
        self.stage, self.step, self.done = stage, step, asyncio.Event()

    async def after(self, passing: Passing) -> bool:
        told = json.loads(passing.body) if passing.resource == "selfieruns/status" else {}
        if told.get("status", {}).get("step") == self.step:
            self.done.set()
        return False

    async def reached(self) -> None:
        self.stage.proxy.after = self.after
        await asyncio.wait_for(self.done.wait(), 240)


async def suspended(bench: Bench, step: str, like: EndState) -> tuple[list[str], float]:
    async with bench.stage() as stage:
        await stage.apply()
        stage.operate()
        await At(stage, step).reached()
        await stage.change({"spec": {"suspend": True}})
        await stage.until(lambda: has_status(stage.status().conditions, "Suspended", "True"), seconds=90)
        seconds = await stage.released()
        await stage.change({"spec": {"suspend": False}})
        await stage.ended()
        return alike(stage, like), seconds


async def cancelled(bench: Bench, step: str, like: EndState) -> tuple[list[str], float]:
    async with bench.stage() as stage:
        await stage.apply()
        stage.operate()
        await At(stage, step).reached()
        await stage.change({"spec": {"cancel": True}})
        await stage.until(lambda: stage.status().is_terminal, seconds=90)
        seconds = await stage.released()
        wrong = broken(stage)
        if not has_status(stage.status().conditions, "Failed", "True"):
            wrong.append("it is not Failed")
        published = end_state(stage).steps
        if any(like.steps[path] != digest for path, digest in published.items()):
            wrong.append("I2: what was published has changed")
        return wrong, seconds


async def deleted(bench: Bench, step: str, like: EndState, *, down: bool = False) -> tuple[list[str], float]:
    async with bench.stage() as stage:
        run = await stage.apply()
        operator = stage.operate()
        await At(stage, step).reached()
        if down:
            operator.stays_down = True
            operator.kill()
            await stage.until(lambda: operator.exits)
        await bench.api.delete(SELFIE_RUN, "run", uid=uid_of(run), namespace=stage.namespace)
        await stage.until(lambda: stage.run() is None, seconds=60)
        seconds = await stage.gone(uid_of(run))
        return [], seconds


async def meddled(bench: Bench, steps: Sequence[str]) -> None:
    like, _ = await reference(bench)
    ways = {
        "suspended and resumed": suspended,
        "cancelled": cancelled,
        "deleted": deleted,
        "deleted with the operator down": lambda *given: deleted(*given, down=True),
    }
    turn = asyncio.Semaphore(6)
    wrong: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in ways}

    async def one(name: str, step: str) -> None:
        async with turn:
            try:
                found, took = await ways[name](bench, step, like)
            except AssertionError as error:
                found, took = [f"it did not come to it: {error}"], 0.0
            seconds[name].append(took)
            if found:
                wrong[f"{name} at {step}"] = found

    async with asyncio.TaskGroup() as group:
        for name in ways:
            for step in steps:
                group.create_task(one(name, step))
    report(
        "16",
        fault="suspended and resumed, cancelled, deleted, deleted with the operator down, "
        f"at {len(steps)} of {len(STEPS)} steps",
        points=len(steps) * len(ways),
        held=len(steps) * len(ways) - len(wrong),
        released_after_s={name: round(max(took), 1) for name, took in seconds.items()},
    )
    assert wrong == {}
    assert max(max(took) for took in seconds.values()) <= 60


async def test_a_run_is_suspended_cancelled_and_deleted_without_a_rest(bench: Bench) -> None:
    await meddled(bench, FEW)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_run_is_suspended_cancelled_and_deleted_at_every_step_without_a_rest(bench: Bench) -> None:
    await meddled(bench, STEPS)


QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}


@pytest.mark.faults
async def test_a_quota_stalls_a_run_until_there_is_room_and_it_asks_little_meanwhile(bench: Bench) -> None:
    like, _ = await reference(bench)
    loop = asyncio.get_running_loop()
    async with bench.stage() as stage:
        quota = {**QUOTA, "spec": {"hard": {"count/jobs.batch": "0"}}}
        quota["metadata"] = {"name": "none", "namespace": stage.namespace}
        await asyncio.to_thread(apply, bench.cluster, quota)
        await asyncio.sleep(3)
        await stage.apply()
        stage.operate()
        await stage.until(lambda: stage.status().attempt)
        began = loop.time()
        await stage.until(lambda: has_status(stage.status().conditions, "Stalled", "True"), seconds=60)
        stalled_s = loop.time() - began
        await asyncio.sleep(5)
        tried = _job_tries(stage)
        await asyncio.sleep(60)
        tries = _job_tries(stage) - tried
        await asyncio.to_thread(
            bench.cluster.kubectl, "delete", "resourcequota/none", f"-n={stage.namespace}"
        )
        await stage.ended(seconds=400)
        wrong = alike(stage, like)
    report(
        "21, quota",
        fault="a quota lets no Job be made",
        runs=1,
        stalled_after_s=round(stalled_s, 1),
        tries_a_minute=tries,
        healed=int(not wrong),
    )
    assert wrong == []
    assert stalled_s <= 30
    assert tries <= 3


def _job_tries(stage: Stage) -> int:
    events = stage.bench.audit.of(stage.namespace)
    return sum(event.verb == "create" and event.resource == "jobs" for event in events)


@pytest.mark.faults
async def test_rights_that_are_taken_away_stall_a_run_that_heals_when_they_are_back(bench: Bench) -> None:
    like, _ = await reference(bench)
    loop = asyncio.get_running_loop()
    async with bench.stage() as stage:
        await stage.apply()
        stage.operate()
        await stage.come_to("rounds/01/train")
        role = f"role/r-operator -n={stage.namespace}".split()
        whole = json.loads(bench.cluster.kubectl("get", *role, "-o=json"))
        del whole["metadata"]["resourceVersion"]
        rules = [rule for rule in whole["rules"] if rule["resources"] != ["deployments"]]
        reads = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]}
        await asyncio.to_thread(apply, bench.cluster, {**whole, "rules": [*rules, reads]})
        began = loop.time()
        await stage.until(lambda: has_status(stage.status().conditions, "Stalled", "True"), seconds=60)
        stalled_s, place = loop.time() - began, len(stage.proxy.passed)
        await asyncio.sleep(60)
        tries = Counter(str(entry[1]) for entry in stage.proxy.passed[place:] if entry[1].number)
        await asyncio.to_thread(apply, bench.cluster, whole)
        await stage.ended(seconds=600)
        wrong = alike(stage, like)
    report(
        "21, denied",
        fault="the right to make Deployments taken away in the middle of a run",
        runs=1,
        stalled_after_s=round(stalled_s, 1),
        writes_tried_in_a_minute=dict(tries),
        healed=int(not wrong),
    )
    assert wrong == []
    assert sum(tries.values()) <= 8


@pytest.mark.faults
async def test_a_run_that_cannot_be_read_and_a_scorer_that_hangs_hold_up_nobody_else(bench: Bench) -> None:
    like, _ = await reference(bench)
    async with bench.stage() as stage:
        poison = await stage.apply("poison")
        garbage = {"status": {"conditions": [], "attempt": 3, "step": "rounds/07/nonsense", "rounds": []}}
        await bench.api.patch(
            SELFIE_RUN, name_of(poison), garbage, namespace=stage.namespace, subresource="status"
        )
        hung = await stage.apply("hung")
        bench.work.hangs.add(uid_of(hung))
        await stage.apply()
        stage.operate(call_seconds=5)
        await stage.ended()
        wrong = broken(stage, like=like)
        bench.work.hangs.clear()
        for name in ("hung", "poison"):
            await stage.ended(name, seconds=400)
            if end_state(stage, name).steps != like.steps:
                wrong.append(f"{name} has published other steps")
    report(
        "21, poison",
        fault="a run with a status of nonsense and one whose scorer hangs, beside a third one",
        runs=3,
        held_up=int(bool(wrong)),
    )
    assert wrong == []


@pytest.mark.faults
async def test_a_namespace_that_is_deleted_takes_its_runs_along_and_the_operator_stays_calm(
    bench: Bench,
) -> None:
    async with bench.stage() as stage:
        run = await stage.apply()
        operator = stage.operate()
        await stage.come_to("rounds/01/generate")
        await asyncio.to_thread(bench.cluster.kubectl, "delete", "namespace", stage.namespace, "--wait=false")
        await stage.until(lambda: stage.run() is None, seconds=90)
        await stage.gone(uid_of(run), seconds=90)
        place = len(stage.proxy.passed)
        await asyncio.sleep(15)
        asked = [entry for entry in stage.proxy.passed[place:] if entry[1].resource != "leases"]
    report(
        "21, namespace",
        fault="the namespace deleted in the middle of a run",
        runs=1,
        requests_a_second_after=round(len(asked) / 15, 2),
        operator_ended=operator.exits,
    )
    assert len(asked) <= 2 * 15
