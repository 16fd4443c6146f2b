"""Whatever happens to a run on real pods, it makes the same, and trains nothing twice.

One run, disturbed at every stage on its way. Its name is that of the undisturbed one, which was
deleted before: the name stands in the checkpoints' cards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from disturbing import OWN, SHARED, STAGE_S, Disturber, moments
from installations import Installation, PodsSeen, RunOnCluster, attempts, start_records, submitted
from killing import MODEL, SPEC, made_by
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.shards import read_group
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
Reference: TypeAlias = Callable[[], Mapping[str, Any]]

# So that a trainer can run out of it while the machine does not.
MEMORY = "  resources: {training: {memory: 2Gi}}\n"
SEED, SERVED, TRAIN = "rounds/00/seed", "rounds/00/publish", "rounds/01/train"


@dataclass(frozen=True)
class Disturbed:
    """The run after its end, and all pods that it had on its way."""

    run: RunOnCluster
    pods: Mapping[str, list[dict[str, Any]]]

    def uids(self, step: str) -> set[str]:
        """The pods that have worked on a step of training."""
        label = "selfie.dev/step"
        last = [states[-1]["metadata"] for states in self.pods.values()]
        return {entry["uid"] for entry in last if entry["labels"].get(label) == step.replace("/", ".")}

    def ends(self, step: str) -> set[str]:
        """Why pods of a step of training have ended, in Kubernetes' words."""
        found = set()
        for states in self.pods.values():
            for state in states:
                if state["metadata"]["uid"] in self.uids(step):
                    for container in state["status"].get("containerStatuses", ()):
                        found.add(container["state"].get("terminated", {}).get("reason", ""))
        return found - {""}


@pytest.fixture(scope="module")
def release(release_on_volume: Installation) -> Installation:
    """The chart on the node."""
    return release_on_volume


@pytest.fixture(scope="module")
def disturbed(release: Installation, reference: Reference) -> Disturbed:
    """The run, and what is done to it."""
    return _run(release, _disturb)


def _run(release: Installation, disturb: Callable[[Disturber], None]) -> Disturbed:
    seen = PodsSeen.begin(release)
    try:
        run = submitted(release, SPEC.format(model=MODEL) + MEMORY)
        try:
            disturb(Disturber.of(release, run))
            release.kubectl("wait", "--for=condition=Complete", "sfr/tiny", f"--timeout={STAGE_S}s")
        except Exception as error:
            raise AssertionError(run.why()) from error
        until(lambda: not run.pods(), seconds=60)
    finally:
        seen.stop()
    return Disturbed(run, seen.by_name())


def _disturb(on: Disturber) -> None:
    on.at("prepare")
    on.delete("operator")
    with on.training(SEED, start=1) as pod:
        on.delete_pod(pod)
    with on.training(SEED, start=2) as pod:
        on.evict(pod)
    on.lose("engine")
    with on.working("rounds/01/generate", "engine"):
        on.roll("engine")
        on.delete("generation")
    with on.working("rounds/01/score", "scoring") as pod:
        on.delete_pod(pod)
    on.at("filter", "train")
    on.delete("filtering")
    with on.training(TRAIN, start=1) as pod:
        on.run_out_of_memory(pod)
    with on.training(TRAIN, start=2):
        on.delete("training")
        on.release.cluster.restart("kubelet")


def test_a_disturbed_run_makes_the_same_to_the_last_bit(disturbed: Disturbed, reference: Reference):
    found = made_by(disturbed.run.store)
    for step, facts in reference().items():
        assert found[step] == facts, step


def test_a_disturbance_is_charged_to_no_attempt(disturbed: Disturbed):
    assert attempts(disturbed.run.store) == {"a1"}


@pytest.mark.parametrize(("step", "starts"), [(SEED, 3), (TRAIN, 2)])
def test_a_trainer_that_is_lost_is_followed_by_one_that_goes_on(disturbed: Disturbed, step: str, starts: int):
    assert start_records(disturbed.run.store)[f"{step}/a1"] == starts
    assert len(disturbed.uids(step)) == starts


def test_the_trainer_that_ran_out_of_memory_was_told_so(disturbed: Disturbed):
    assert "OOMKilled" in disturbed.ends(TRAIN)


def test_the_kubelet_that_was_restarted_left_the_trainer_alone(disturbed: Disturbed):
    # Restarted in the middle of the second start, after which there was no third.
    assert len(disturbed.uids(TRAIN)) == 2


@pytest.mark.parametrize("step", ["prepare", "rounds/00/publish", "rounds/01/publish"])
def test_what_was_not_disturbed_has_run_once(disturbed: Disturbed, step: str):
    assert start_records(disturbed.run.store)[f"{step}/a1"] == 1


def test_every_sample_is_of_the_policy_that_was_meant(disturbed: Disturbed):
    assert _policies_of_samples(disturbed.run, "rounds/01/generate") == {_weights(disturbed.run, SERVED)}


def _policies_of_samples(run: RunOnCluster, step: str) -> set[str]:
    manifest = read_manifest(run.store, step)
    assert manifest
    digests: list[str] = read_group(run.store, manifest, "samples")["policy_digest"].to_pylist()
    return set(digests)


def _weights(run: RunOnCluster, step: str) -> str | None:
    manifest = read_manifest(run.store, step)
    assert manifest
    return manifest.weights_digest


# -- The same for every service, the operator and the engine, at every stage.


@pytest.fixture(scope="module")
def nowhere_safe(release: Installation, reference: Reference) -> Disturbed:
    """A run under which everything is deleted at every moment that its status tells of."""

    def disturb(on: Disturber) -> None:
        for _ in moments(on.run):
            on.delete(*SHARED, *OWN)

    return _run(release, disturb)


@pytest.mark.faults
def test_a_run_whose_services_are_deleted_at_every_stage_makes_the_same(
    nowhere_safe: Disturbed, reference: Reference
):
    found = made_by(nowhere_safe.run.store)
    for step, facts in reference().items():
        assert found[step] == facts, step


@pytest.mark.faults
def test_no_training_is_started_twice_because_services_are_gone(nowhere_safe: Disturbed):
    starts = start_records(nowhere_safe.run.store)
    assert {path: count for path, count in starts.items() if count != 1 or not path.endswith("/a1")} == {}


@pytest.mark.faults
def test_no_engine_that_is_deleted_gives_samples_of_other_weights(nowhere_safe: Disturbed):
    assert _policies_of_samples(nowhere_safe.run, "rounds/01/generate") == {
        _weights(nowhere_safe.run, SERVED)
    }
