"""A training that two pods share: an indexed Job, whose pods find each other through a headless Service."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from disturbing import STAGE_S, Disturber
from installations import Installation, submitted
from killing import MODEL, SPEC
from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]
STEP = "rounds/00/seed"


@dataclass(frozen=True)
class Shared:
    """A training that two pods have shared, and whose pods were lost on the way."""

    store: Store
    manifest: Manifest


@pytest.fixture(scope="module")
def shared(release_on_volume: Installation, reference_store: Callable[[], Store]) -> Shared:
    """A rank of it was killed, and then the pod deleted at which the other looks for its peers."""
    release = release_on_volume
    run = submitted(release, SPEC.format(model=MODEL) + "  nodes: 2\n")
    on = Disturber.of(release, run)
    try:
        with on.training(STEP, start=1):
            on.kill_rank(STEP, start=1, node=1)
        with on.training(STEP, start=2) as pod:
            on.delete_pod(pod)
        manifest = until(lambda: read_manifest(on.store, STEP), seconds=STAGE_S)
    except Exception as error:
        raise AssertionError(run.why()) from error
    release.kubectl("delete", "sfr", "--all", "--wait")
    return Shared(on.store, manifest)


def test_two_pods_end_with_the_loss_of_one(shared: Shared, reference_store: Callable[[], Store]):
    alone = reference_store()
    manifest = read_manifest(alone, STEP)
    assert manifest
    assert _losses(shared.store, shared.manifest) == pytest.approx(_losses(alone, manifest), abs=1e-4)


@pytest.mark.parametrize("node", [0, 1])
def test_both_pods_go_on_when_one_is_lost(shared: Shared, node: int):
    # Its own first start, and one after each loss, whosever it was.
    starts = [path for path in shared.store.list(f"{STEP}/a1/starts") if f"/starts/{node:02d}-" in path]
    assert len(starts) == 3


def test_a_lost_pod_costs_no_attempt(shared: Shared):
    assert {path.split("/")[3] for path in shared.store.list(STEP) if path != f"{STEP}/manifest.json"} == {"a1"}


def _losses(store: Store, manifest: Manifest) -> list[float]:
    values: list[float] = read_group(store, manifest, "steps")["loss"].to_pylist()
    return values
