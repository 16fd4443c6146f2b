"""`helm upgrade` and `helm rollback` while a run trains: it goes on as if nothing had happened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cluster import nodes, thin
from cluster.node import ctr
from disturbing import STAGE_S, Disturber
from installations import RELEASE, Installation, PodsSeen, RunOnCluster, start_records, submitted
from killing import MODEL, SPEC, made_by

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
NEXT = "next"
SEED, TRAIN = "rounds/00/seed", "rounds/01/train"


@dataclass(frozen=True)
class Upgraded:
    """The run after its end, all pods that it had, and images of the release after each change of it."""

    run: RunOnCluster
    pods: Mapping[str, list[dict[str, Any]]]
    released: Mapping[str, set[str]]


@pytest.fixture(scope="module")
def upgraded(release_on_volume: Installation) -> Upgraded:
    """A run that began before an upgrade to other images, and goes on after it was taken back."""
    release, released = release_on_volume, {}
    own = release.values["images"]
    tagged = f"{thin.IMAGE.rpartition(':')[0]}:{NEXT}"
    nodes.run_inside(release.cluster, *ctr("images", "tag", "--force", thin.IMAGE, tagged))
    seen = PodsSeen.begin(release)
    run = submitted(release, SPEC.format(model=MODEL))
    on = Disturber.of(release, run)
    try:
        with on.training(SEED, start=1):
            release.install(images=own | {"tag": NEXT}, logLevel="debug")
            released["upgrade"] = _images(release)
        with on.training(TRAIN, start=1):
            release.helm.run("rollback", RELEASE, f"-n={release.namespace}", "--wait", seconds=STAGE_S)
            released["rollback"] = _images(release)
        release.kubectl("wait", "--for=condition=Complete", f"sfr/{run.name}", f"--timeout={STAGE_S}s")
    except Exception as error:
        raise AssertionError(run.why()) from error
    finally:
        seen.stop()
        release.install(images=own, logLevel="info")
    return Upgraded(run, seen.by_name(), released)


def test_services_and_operator_are_those_of_the_upgrade_and_then_of_the_rollback(upgraded: Upgraded):
    own = thin.IMAGE.rpartition(":")[2]
    tags = {
        change: {image.rpartition(":")[2] for image in images} for change, images in upgraded.released.items()
    }
    assert tags == {"upgrade": {NEXT}, "rollback": {own}}


def test_no_trainer_was_started_again(upgraded: Upgraded):
    starts = start_records(upgraded.run.store)
    assert starts[f"{SEED}/a1"] == starts[f"{TRAIN}/a1"] == 1
    assert {path for path in starts if not path.endswith("/a1")} == set()


def test_every_pod_of_the_run_has_the_image_that_it_began_with(upgraded: Upgraded):
    images = {
        container["image"]
        for states in upgraded.pods.values()
        for container in states[-1]["spec"]["containers"]
    }
    assert images == {thin.IMAGE}


def test_the_run_makes_what_it_makes_without_an_upgrade(
    upgraded: Upgraded, reference: Callable[[], Mapping[str, Any]]
):
    found = made_by(upgraded.run.store)
    for step, facts in reference().items():
        assert found[step] == facts, step


def _images(release: Installation) -> set[str]:
    """Of the release's own pods that are not on their way out."""
    pods = release.pods(f"-l=app.kubernetes.io/instance={RELEASE}")
    return {
        container["image"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for container in pod["spec"]["containers"]
    }
