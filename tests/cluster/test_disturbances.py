"""Whatever is deleted under a run on real pods, it makes the same, and trains nothing twice.

One run, disturbed at every stage on its way. Its name is that of the undisturbed one, which was
deleted before: the name stands in the checkpoints' cards.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pytest

from installations import RELEASE, Installation, PodsSeen, RunOnCluster, start_records, submitted
from killing import MODEL, SPEC, made_by
from selfie.runs.steps import Step
from selfie.training.outcomes import read_progress
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
Reference: TypeAlias = Callable[[], Mapping[str, Any]]
STAGE_S = 400
"""Time for one stage, with the start of everything that it needs."""


@dataclass(frozen=True)
class Disturbed:
    """The run after its end, and all pods that it had on its way."""

    run: RunOnCluster
    pods: Mapping[str, list[dict[str, Any]]]

    def uids(self, step: str) -> set[str]:
        """The pods that have worked on a step of training."""
        label = "selfie.dev/step"
        last = [states[-1]["metadata"] for states in self.pods.values()]
        return {entry["uid"] for entry in last if entry["labels"].get(label) == step}


@pytest.fixture(scope="module")
def disturbed(release: Installation, reference: Reference) -> Disturbed:
    """The run, and what is done to it."""
    release.kubectl("delete", "sfr", "--all", "--wait")
    seen = PodsSeen.begin(release)
    try:
        run = submitted(release, SPEC.format(model=MODEL))
        try:
            _disturb(release, run)
            release.kubectl("wait", "--for=condition=Complete", "sfr/tiny", f"--timeout={STAGE_S}s")
        except Exception as error:
            raise AssertionError(run.why()) from error
        until(lambda: not run.pods(), seconds=60)
    finally:
        seen.stop()
    return Disturbed(run, seen.by_name())


def _disturb(release: Installation, run: RunOnCluster) -> None:
    _at(run, "prepare")
    _delete(release, f"app.kubernetes.io/component=operator,app.kubernetes.io/instance={RELEASE}")
    _training(run, "seed")
    _delete(release, _of(run, "trainer"))
    _at(run, "serve", "evaluate")
    _delete(release, _of(run, "engine"))
    _at(run, "generate")
    _delete(release, _of(run, "engine"))
    _delete(release, f"app.kubernetes.io/component=generation,app.kubernetes.io/instance={RELEASE}")
    _at(run, "score")
    _working(run, "scoring")
    _delete(release, _of(run, "scoring"))
    _at(run, "filter", "train")
    _delete(release, f"app.kubernetes.io/component=filtering,app.kubernetes.io/instance={RELEASE}")
    _training(run, "train")
    _delete(release, f"app.kubernetes.io/component=training,app.kubernetes.io/instance={RELEASE}")
    _evict(release, run)


def _of(run: RunOnCluster, component: str) -> str:
    uid = run.object()["metadata"]["uid"]
    return f"selfie.dev/run-uid={uid},app.kubernetes.io/component={component}"


def _delete(release: Installation, selector: str) -> None:
    release.kubectl("delete", "pods", f"-l={selector}", "--wait=false")


def _at(run: RunOnCluster, *stages: str) -> None:
    until(lambda: run.is_at(*stages), seconds=STAGE_S)


def _working(run: RunOnCluster, component: str) -> None:
    until(lambda: any(pod["status"]["phase"] == "Running" for pod in run.pods(component)), seconds=STAGE_S)


def _training(run: RunOnCluster, stage: Literal["seed", "train"]) -> None:
    """Waits until that stage's trainer is in the middle of it."""
    _at(run, stage)
    store, number = run.store, run.object()["status"]["round"]
    path = f"{Step(number, stage).path}/a1"

    def has_begun() -> bool:
        progress = read_progress(store, path)
        return progress is not None and progress.done > 0

    until(has_begun, seconds=STAGE_S)


def _evict(release: Installation, run: RunOnCluster) -> None:
    """By the API that `kubectl drain` uses."""
    for pod in run.pods("trainer"):
        if pod["status"]["phase"] != "Running":
            continue
        name = pod["metadata"]["name"]
        review = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{release.namespace}/pods/{name}/eviction"
        release.cluster.kubectl("create", f"--raw={path}", "-f", "-", given=json.dumps(review))


def test_a_disturbed_run_makes_the_same_to_the_last_bit(disturbed: Disturbed, reference: Reference):
    found = made_by(disturbed.run.store)
    for step, facts in reference().items():
        assert found[step] == facts, step


def test_a_disturbance_is_charged_to_no_attempt_of_training(disturbed: Disturbed):
    attempts = {path for path in start_records(disturbed.run.store) if not path.endswith("/a1")}
    assert attempts == set()


@pytest.mark.parametrize("step", ["rounds.00.seed", "rounds.01.train"])
def test_a_trainer_that_was_deleted_is_followed_by_one_that_goes_on(disturbed: Disturbed, step: str):
    starts = start_records(disturbed.run.store)[f"{step.replace('.', '/')}/a1"]
    assert starts == len(disturbed.uids(step)) == 2


@pytest.mark.parametrize("step", ["prepare", "rounds.00.publish", "rounds.01.publish"])
def test_what_was_not_disturbed_has_run_once(disturbed: Disturbed, step: str):
    assert start_records(disturbed.run.store)[f"{step.replace('.', '/')}/a1"] == 1
