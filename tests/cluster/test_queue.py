"""What Kueue counts on, and what may be counted on with Kueue: a run whose Jobs a queue admits and evicts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from fault_bench import Bench
from fault_stage import Stage
from holding import Held, jobs_of
from invariants import broken, end_state, reference
from queue_controller import POD_SET, QUEUE, Flavour, QueueController
from selfie.kube.objects import labels_of, name_of, namespace_of
from selfie.runs.conditions import condition_of

pytestmark = pytest.mark.timeout(600)

TRAIN = "rounds/02/train"
SPOT, RESERVED = Flavour("spot"), Flavour("reserved")
PLACES = (SPOT, RESERVED, SPOT)
"""Where the training is admitted, one time after the other."""


@dataclass
class Evicted:
    """What was seen of a run whose training its queue has moved from place to place."""

    queue: QueueController
    restarts: list[int]
    waited_for: list[str]
    selectors: list[dict[str, str]]
    labels: list[dict[str, str]]
    failed: int
    wrong: list[str]


@pytest.fixture
async def queued(bench: Bench) -> AsyncIterator[tuple[Stage, QueueController]]:
    """A release beside a queue that is closed, on a node with the labels of its flavour."""
    async with bench.stage() as stage:
        queue = QueueController(bench.api, stage.namespace, "team-queue", SPOT, is_open=False)
        bench.node.labels = SPOT.selector
        stage.tasks.append(asyncio.create_task(queue.run()))
        yield stage, queue


async def test_nothing_of_a_run_trains_before_its_queue_admits_it(
    bench: Bench, queued: tuple[Stage, QueueController]
) -> None:
    stage, queue = queued
    await stage.apply(queue="team-queue")
    stage.operate()
    await stage.until(lambda: _reason(stage) == "Queued")
    await asyncio.sleep(3)
    pods = [pod for pod in bench.node.pods() if namespace_of(pod) == stage.namespace]
    assert (len(queue.tickets), pods) == (1, [])
    assert stage.status().failures is None
    queue.is_open = True
    await stage.until(lambda: len(queue.tickets) > 1)


async def test_a_queue_moves_a_training_from_place_to_place_and_the_run_is_the_same(
    bench: Bench, queued: tuple[Stage, QueueController]
) -> None:
    stage, queue = queued
    like, _ = await reference(bench)
    queue.is_open = True
    seen = await _moved(bench, stage, queue)
    assert seen.wrong == []
    end = end_state(stage)
    assert (end.steps, end.attempts) == (like.steps, like.attempts)
    # The label arrives on every Job, and each is made suspended.
    jobs = [name for name in like.children if name.startswith("jobs/")]
    asked = [ticket.asked for ticket in queue.tickets.values()]
    assert len(asked) == len(jobs)
    assert {labels_of(job)[QUEUE] for job in asked} == {"team-queue"}
    assert {job["spec"]["suspend"] for job in asked} == {True}
    # It stays one Job, of one attempt, of which nothing is charged to the retries.
    assert {len(ticket.uids) for ticket in queue.tickets.values()} == {1}
    assert (seen.failed, stage.status().failures) == (0, None)
    # A start more for each pod, on the nodes that the queue has chosen.
    assert seen.restarts == [0, 1, 2]
    assert seen.waited_for == ["Queued", "Queued"]
    assert seen.selectors == [place.selector for place in PLACES]
    assert {labels[POD_SET] for labels in seen.labels} == {"main"}
    others = [ticket.admissions for name, ticket in queue.tickets.items() if len(ticket.admissions) == 1]
    assert len(others) == len(jobs) - 1


async def _moved(bench: Bench, stage: Stage, queue: QueueController) -> Evicted:
    held = Held(bench, stage, TRAIN)
    await stage.apply(queue="team-queue")
    stage.operate()
    restarts, waited_for = [], []
    for number, place in enumerate(PLACES[1:], start=1):
        await held.trains(number)
        await stage.until(lambda number=number: stage.status().restarts == number - 1, seconds=60)
        restarts.append(stage.status().restarts)
        [job] = await jobs_of(stage, TRAIN)
        queue.is_open = False
        await queue.evict(name_of(job))
        await stage.until(lambda: _reason(stage) == "Queued")
        waited_for.append(_reason(stage))
        bench.node.labels, queue.flavour, queue.is_open = place.selector, place, True
    await held.trains(len(PLACES))
    await stage.until(lambda: stage.status().restarts == len(PLACES) - 1, seconds=60)
    restarts.append(stage.status().restarts)
    [job] = await jobs_of(stage, TRAIN)
    held.let_go = True
    await stage.ended()
    return Evicted(
        queue,
        restarts,
        waited_for,
        [pod["spec"]["nodeSelector"] for pod in held.pods],
        [dict(labels_of(pod)) for pod in held.pods],
        (job.get("status") or {}).get("failed", 0),
        broken(stage),
    )


def _reason(stage: Stage) -> str:
    found = condition_of(stage.status().conditions, "Succeeded")
    return found.reason if found else ""
