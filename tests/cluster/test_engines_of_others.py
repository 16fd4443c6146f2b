"""Runs that sample from TGI and vLLM, or what is as strict: pods of other images, rolled or moved.

The stand-ins draw from the name of the directory that they have loaded and the seed that they are given.
So every sample can be drawn again here, and shows which weights its engine had.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster import thin
from disturbing import Disturber
from installations import Installation, PodsSeen, RunOnCluster, submitted
from killing import MODEL
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.shards import read_group
from selfie.kube.labels import WEIGHTS
from selfie.runs.names import weights_label
from thin_pods import SUPPORT
from toy_models import ToyModel
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
COMPLETE_S = 1000
RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: tiny}}
spec:
  model: {{uri: {model}}}
  randomSeed: 11
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl, heldoutSize: 16, learningRate: "1e-3"}}
  rounds:
    - prompts: {{dataset: prompts.jsonl, count: 16}}
    - prompts: {{dataset: prompts.jsonl, from: 16, count: 16}}
  generation: {{engine: {engine}, maxNewTokens: 24, maxPromptTokens: 128}}
  gpu: {gpu}
  filter: {{cut: keep, window: 4}}
  training: {{batch: 2, learningRate: "1e-3"}}
  evaluation:
    prompts: {{dataset: prompts.jsonl, from: 40, count: 6}}
"""


@dataclass(frozen=True)
class Kind:
    """An engine as a release offers it, and how a run uses it."""

    engine: str
    gpu: str
    program: tuple[str, ...]
    in_place: bool = False

    @property
    def offered(self) -> dict[str, Any]:
        """What the chart is told of it."""
        command, *arguments = self.program
        return {
            "image": thin.IMAGE,
            "command": ["python", f"{SUPPORT}/{command}"],
            "arguments": [*arguments, "--slow-s", "0.3"],
            "accelerators": 0,
            "sharedMemory": "",
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
            **({"inPlace": True} if self.in_place else {}),
        }


ROLLED = Kind("tgi", "shared", ("tgi_program.py", "--model-id", "{weights}"))
MOVED = Kind("openai", "separate", ("openai_program.py", "--model", "{weights}"), in_place=True)


@dataclass(frozen=True)
class Ended:
    """The run after its end, and all pods that it had on its way."""

    kind: Kind
    run: RunOnCluster
    pods: Mapping[str, list[dict[str, Any]]]

    @property
    def engines(self) -> dict[str, list[dict[str, Any]]]:
        """All sights of each of its engine's pods."""
        return {name: states for name, states in self.pods.items() if _component(states[-1]) == "engine"}


def _component(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


@pytest.fixture(scope="module", params=[ROLLED, MOVED], ids=["rolled", "in-place"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def release(release_on_volume: Installation, kind: Kind) -> Iterator[Installation]:
    """The chart on the node, which offers the stand-in."""
    own = release_on_volume.values["runPods"]
    release_on_volume.install(runPods=own | {kind.engine: kind.offered})
    yield release_on_volume
    release_on_volume.install(runPods=own)


@pytest.fixture(scope="module")
def ended(release: Installation, kind: Kind) -> Ended:
    """A run of two rounds, whose engine is lost, and rolled or killed, while it samples."""
    seen = PodsSeen.begin(release)
    try:
        run = submitted(release, RUN.format(model=MODEL, engine=kind.engine, gpu=kind.gpu))
        try:
            on = Disturber.of(release, run)
            with on.working("rounds/01/generate", "engine") as pod:
                on.delete_pod(pod)
            with on.working("rounds/02/generate", "engine") as pod:
                if kind.in_place:
                    on.kill(pod, kind.program[0])
                else:
                    on.roll("engine")
            release.kubectl("wait", "--for=condition=Complete", "sfr/tiny", f"--timeout={COMPLETE_S}s")
        except Exception as error:
            raise AssertionError(run.why()) from error
        until(lambda: not run.pods(), seconds=60)
    finally:
        seen.stop()
    return Ended(kind, run, seen.by_name())


@pytest.mark.parametrize(
    ("step", "policy"),
    [
        ("rounds/00/evaluate-samples", "rounds/00/publish"),
        ("rounds/01/generate", "rounds/00/publish"),
        ("rounds/02/generate", "rounds/01/publish"),
        ("rounds/02/evaluate-samples", "rounds/02/publish"),
    ],
)
def test_every_sample_was_drawn_from_the_weights_that_were_meant(
    ended: Ended, tiny_checkpoint: Path, step: str, policy: str
):
    published, manifest = read_manifest(ended.run.store, policy), read_manifest(ended.run.store, step)
    assert published
    assert manifest
    weights = published.weights_digest
    model = ToyModel(tiny_checkpoint)
    rows = read_group(ended.run.store, manifest, "samples").to_pylist()
    assert rows
    for row in rows:
        drawn = model.draw(f"/weights/{weights}", row["prompt_ids"], seed=row["seed"], limit=24)
        assert tuple(row["response_ids"]) == drawn.ids
        assert row["policy_digest"] == weights


def test_pods_have_the_labels_of_all_weights_in_turn(ended: Ended):
    states = [state for states in ended.engines.values() for state in states]
    labels = {state["metadata"]["labels"].get(WEIGHTS) for state in states}
    steps = ("rounds/00/publish", "rounds/01/publish", "rounds/02/publish")
    published = [read_manifest(ended.run.store, step) for step in steps]
    assert {weights_label(manifest.weights_digest) for manifest in published if manifest} <= labels


def test_an_engine_that_is_moved_stays_over_rounds_and_any_other_is_made_anew(ended: Ended):
    if ended.kind.in_place:
        assert len(ended.engines) == 2, "the first, and the one in place of the pod that was deleted"
    else:
        assert len(ended.engines) >= 5


def test_the_engine_sees_neither_the_store_nor_a_token(ended: Ended):
    for states in ended.engines.values():
        spec = states[-1]["spec"]
        [server] = [container for container in spec["containers"] if container["name"] == "engine"]
        assert {mount["name"] for mount in server["volumeMounts"]} & {"artifacts", "selfie-token"} == set()
        assert spec["automountServiceAccountToken"] is False


def test_no_pod_of_the_engine_is_left(ended: Ended):
    assert ended.run.pods() == []
