"""An engine that crashes again and again, and one that is rolled to nowhere while samples are drawn.

The run says so, waits, and goes on when that is mended.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from disturbing import STAGE_S, Disturber
from installations import Installation, RunOnCluster, attempts, submitted
from killing import MODEL, SPEC, made_by
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.shards import read_group
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
# Python itself fits in, and torch does not.
TOO_LITTLE = "  resources: {engine: {memory: 96Mi}}\n"
NOBODYS = "localhost/nobody:1"
ENOUGH = '{"spec": {"resources": {"engine": {"memory": "4Gi"}}}}'


@dataclass(frozen=True)
class Troubled:
    """The run after its end, and what it said in each of its troubles."""

    run: RunOnCluster
    crashing: str
    half_rolled: str


@pytest.fixture(scope="module")
def troubled(release_on_volume: Installation) -> Troubled:
    """A run whose engine has too little memory, then enough, and then an image that nobody has."""
    release = release_on_volume
    run = submitted(release, SPEC.format(model=MODEL) + TOO_LITTLE)
    try:
        crashing = until(lambda: _stalled(run, "CrashLooping"), seconds=STAGE_S)
        release.kubectl("patch", "sfr", run.name, "--type=merge", f"--patch={ENOUGH}")
        on = Disturber.of(release, run)
        with on.working("rounds/01/generate", "engine"):
            [engine] = release.found("deployments", f"-l=selfie.dev/run-uid={on.uid}")["items"]
            name = f"deployment/{engine['metadata']['name']}"
            release.kubectl("set", "image", name, f"*={NOBODYS}")
            # While its time stands still, it does not finish what it has begun before it goes.
            half_rolled = until(lambda: _stalled(run, "ImageCannotBePulled"), seconds=STAGE_S)
        release.kubectl("rollout", "undo", name)
        release.kubectl("wait", "--for=condition=Complete", f"sfr/{run.name}", f"--timeout={STAGE_S}s")
    except Exception as error:
        raise AssertionError(run.why()) from error
    return Troubled(run, crashing, half_rolled)


def test_an_engine_that_crashes_again_and_again_is_told_with_its_last_words(troubled: Troubled):
    assert "OOMKilled" in troubled.crashing


def test_an_engine_that_is_rolled_to_an_image_that_nobody_has_is_told_while_samples_are_drawn(
    troubled: Troubled,
):
    assert "rounds/01/generate" in troubled.half_rolled
    assert "cannot go on without its engine" in troubled.half_rolled
    assert NOBODYS in troubled.half_rolled


def test_neither_costs_an_attempt(troubled: Troubled):
    assert attempts(troubled.run.store) == {"a1"}


def test_every_sample_is_there_once_and_of_the_policy_that_was_meant(
    troubled: Troubled, reference: Callable[[], Mapping[str, Any]]
):
    drawn = read_manifest(troubled.run.store, "rounds/01/generate")
    served = read_manifest(troubled.run.store, "rounds/00/publish")
    assert drawn
    assert served
    rows = read_group(troubled.run.store, drawn, "samples")
    assert set(rows["policy_digest"].to_pylist()) == {served.weights_digest}
    keys = list(zip(rows["prompt_id"].to_pylist(), rows["sample_index"].to_pylist(), strict=True))
    assert len(keys) == len(set(keys))
    found = made_by(troubled.run.store)
    for step, facts in reference().items():
        assert found[step] == facts, step


def _stalled(run: RunOnCluster, reason: str) -> str:
    """What the run says while it is stalled for this reason; nothing while it is not."""
    condition = run.condition("Stalled")
    told = condition and condition["status"] == "True" and condition["reason"] == reason
    return str(condition["message"]) if condition and told else ""
