"""A training that two pods share: an indexed Job, whose pods find each other through a headless Service.

A queue admits it, which has it start over again once more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from disturbing import STAGE_S, Disturber
from installations import Installation, attempts, submitted
from killing import MODEL, SPEC
from queue_controller import Flavour, Ticket, queueing
from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.kube.objects import name_of
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1000)]
STEP = "rounds/00/seed"


QUEUE = "team-queue"


@dataclass(frozen=True)
class Shared:
    """A training that two pods have shared, with three losses; ``at`` is the run's status after two."""

    store: Store
    manifest: Manifest
    ticket: Ticket
    at: Mapping[str, Any]


@pytest.fixture(scope="module")
def shared(release_on_volume: Installation, reference_store: Callable[[], Store]) -> Shared:
    """A rank of it was killed, the pod was deleted at which the other looks for its peers, both evicted."""
    release, flavour = release_on_volume, Flavour("here")
    node = release.found("nodes")["items"][0]["metadata"]["name"]
    release.kubectl("label", "node", node, *(f"{key}={value}" for key, value in flavour.selector.items()))
    with queueing(release.cluster.kubeconfig, release.namespace, QUEUE, flavour) as (queue, do):
        run = submitted(release, SPEC.format(model=MODEL) + f"  nodes: 2\n  queue: {QUEUE}\n")
        on = Disturber.of(release, run)
        try:
            with on.training(STEP, start=1):
                on.kill_rank(STEP, start=1, node=1)
            with on.training(STEP, start=2) as pod:
                on.delete_pod(pod)
            [job] = release.found("jobs", f"-l=selfie.dev/step={STEP.replace('/', '.')}")["items"]
            with on.training(STEP, start=3):
                until(lambda: run.object()["status"]["restarts"] == 2)
                at = run.object()["status"]
                do(queue.suspend(name_of(job)))
            do(queue.reset(name_of(job)))
            manifest = until(lambda: read_manifest(on.store, STEP), seconds=STAGE_S)
        except Exception as error:
            raise AssertionError(run.why()) from error
        finally:
            release.kubectl("delete", "sfr", "--all", "--wait")
    return Shared(on.store, manifest, queue.tickets[name_of(job)], at)


def test_two_pods_end_with_the_loss_of_one(shared: Shared, reference_store: Callable[[], Store]):
    alone = reference_store()
    manifest = read_manifest(alone, STEP)
    assert manifest
    assert _losses(shared.store, shared.manifest) == pytest.approx(_losses(alone, manifest), abs=1e-4)


@pytest.mark.parametrize("node", [0, 1])
def test_both_pods_go_on_when_one_is_lost(shared: Shared, node: int):
    # Its own first start, and one after each loss, whosever it was.
    starts = [path for path in shared.store.list(f"{STEP}/a1/starts") if f"/starts/{node:02d}-" in path]
    assert len(starts) == 4


def test_lost_pods_and_evictions_cost_no_attempt(shared: Shared):
    assert attempts(shared.store, STEP) == {"a1"}
    assert (shared.at["attempt"], shared.at.get("failures")) == (1, None)


def test_its_queue_has_admitted_the_same_job_twice(shared: Shared):
    assert (shared.ticket.admissions, len(shared.ticket.uids)) == (["here", "here"], 1)


def _losses(store: Store, manifest: Manifest) -> list[float]:
    values: list[float] = read_group(store, manifest, "steps")["loss"].to_pylist()
    return values
