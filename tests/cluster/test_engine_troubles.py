"""An engine that crashes again and again: the run says so, waits, and goes on when that is mended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from disturbing import STAGE_S
from installations import Installation, RunOnCluster, attempts, submitted
from killing import MODEL, SPEC, made_by
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.shards import read_group
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
# Python itself fits in, and torch does not.
TOO_LITTLE = "  resources: {engine: {memory: 96Mi}}\n"
ENOUGH = '{"spec": {"resources": {"engine": {"memory": "4Gi"}}}}'


@dataclass(frozen=True)
class Troubled:
    """The run after its end, and what it said of the crashes."""

    run: RunOnCluster
    crashing: str


@pytest.fixture(scope="module")
def troubled(release_on_volume: Installation) -> Troubled:
    """A run whose engine has too little memory, and then gets enough."""
    release = release_on_volume
    run = submitted(release, SPEC.format(model=MODEL) + TOO_LITTLE)
    try:
        crashing = until(lambda: _stalled(run, "CrashLooping"), seconds=STAGE_S)
        release.kubectl("patch", "sfr", run.name, "--type=merge", f"--patch={ENOUGH}")
        release.kubectl("wait", "--for=condition=Complete", f"sfr/{run.name}", f"--timeout={STAGE_S}s")
    except Exception as error:
        raise AssertionError(run.why()) from error
    return Troubled(run, crashing)


def test_an_engine_that_crashes_again_and_again_is_told_with_its_last_words(troubled: Troubled):
    assert "OOMKilled" in troubled.crashing


def test_that_costs_no_attempt(troubled: Troubled):
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
