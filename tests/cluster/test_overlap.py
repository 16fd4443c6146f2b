"""With accelerators of their own, a run's samples are scored while others are drawn; it makes the same.

What the stages wait for one another is printed: `make test-node ARGS="-k overlap -s"`.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from disturbing import STAGE_S
from installations import Installation, RunOnCluster, attempts, submitted
from killing import MODEL, SPEC, made_by
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.operations import read_record
from selfie.runs.load import parse_run
from selfie.runs.steps import ahead_of, steps_of

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
TEXT = SPEC.format(model=MODEL) + "  gpu: separate\n"
SCORE = "rounds/01/score"


@pytest.fixture(scope="module")
def run(release_on_volume: Installation) -> RunOnCluster:
    """The run, when it has ended."""
    found = submitted(release_on_volume, TEXT)
    try:
        release_on_volume.kubectl(
            "wait", "--for=condition=Complete", f"sfr/{found.name}", f"--timeout={3 * STAGE_S}s"
        )
    except Exception as error:
        raise AssertionError(found.why()) from error
    return found


def test_samples_were_scored_before_they_were_published(run: RunOnCluster) -> None:
    drawn = read_manifest(run.store, "rounds/01/generate")
    ahead = read_record(run.store, ahead_of(SCORE), 1)
    assert drawn
    assert ahead
    assert ahead.started_at < drawn.finished_at
    assert ahead.rows_done > 0
    assert ahead.state == "cancelled"
    assert not [path for path in run.store.list(ahead_of(SCORE)) if path.endswith(".parquet")]


def test_it_makes_the_same_as_one_after_the_other(
    run: RunOnCluster, reference: Callable[[], Mapping[str, Any]]
) -> None:
    found = made_by(run.store)
    for step, facts in reference().items():
        assert found[step] == facts, step
    assert attempts(run.store) == {"a1"}


def test_what_stages_wait_for_one_another(run: RunOnCluster) -> None:
    steps = [step.path for step in steps_of(parse_run(TEXT).spec)]
    made = [manifest for step in steps if (manifest := read_manifest(run.store, step))]
    assert len(made) == len(steps)
    ends = {after.step: (after.started_at, before.finished_at) for before, after in pairwise(made)}
    waits = {step: (start - end).total_seconds() for step, (start, end) in ends.items()}
    print("\n".join(f"{step:36} {seconds:6.1f} s" for step, seconds in waits.items()))
    assert min(waits.values()) >= 0
