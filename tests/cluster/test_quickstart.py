"""The whole quickstart on real pods, from the file that README has people apply."""

import json
from pathlib import Path

import pytest

from cluster.thin import MOUNTED_AT
from installations import Installation, attempts, submitted
from selfie.artifacts.manifests import read_manifest
from selfie.runs.load import parse_run
from selfie.runs.steps import steps_of

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)]
COMPLETE_S = 3400
ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "examples/quickstart.yaml"


def test_the_quickstart_completes_with_a_judge_that_has_learned(release_on_volume: Installation):
    release, own = release_on_volume, release_on_volume.values["operator"]
    release.install(operator=own | {"sourcesRoot": f"file://{MOUNTED_AT}/checkout/examples"})
    run = submitted(release, FILE.read_text())
    try:
        release.kubectl("wait", "--for=condition=Complete", f"sfr/{run.name}", f"--timeout={COMPLETE_S}s")
    except Exception as error:
        raise AssertionError(run.why()) from error
    finally:
        release.install(operator=own)
    steps = [step.path for step in steps_of(parse_run(FILE.read_text()).spec)]
    made = {step: read_manifest(run.store, step) for step in steps}
    assert not [step for step, manifest in made.items() if manifest is None]
    assert {step for step in steps if attempts(run.store, step) - {"a1"}} == set()
    judge = made["rounds/00/evaluate-heldout"]
    assert judge
    assert judge.measures["accuracy"] > 0.8
    told = {step: (made.started_at, made.finished_at) for step, made in made.items() if made}
    seconds = {step: (end - start).total_seconds() for step, (start, end) in told.items()}
    print(json.dumps({"status": run.object()["status"]["progress"], "seconds": seconds}, indent=1))
