"""`selfie run` takes a run through the real services, as processes, on a tiny random model."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from selfie.artifacts.manifests import read_manifest, verify
from selfie.artifacts.run_files import read_run, read_status
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import weights_digest
from selfie.runs.evaluation_fields import LEAST_EVALUATOR_PAIRS
from selfie.runs.steps import steps_of
from tiny_data import write_data

ROOT = Path(__file__).resolve().parents[2]
TOLD = ("Does the judge agree with people?", "the evaluator agrees with people on")
EVALUATED = ("evaluate-samples", "evaluate-heldout", "evaluate-measures", "evaluate-ratings")
AFTER_TRAINING = ("publish", "serve", *EVALUATED)


@pytest.fixture
def run_file(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    write_data(tmp_path, seed=8 + LEAST_EVALUATOR_PAIRS, heldout=6, prompts=10)
    file = tmp_path / "run.yaml"
    file.write_text(
        f"""
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: whole}}
spec:
  model: {{uri: {tiny_checkpoint}}}
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl, size: 8, epochs: 1, learningRate: "1e-3"}}
  rounds:
    - prompts: {{dataset: prompts.jsonl, count: 6}}
  generation: {{maxNewTokens: 8, maxPromptTokens: 128}}
  filter: {{cut: keep}}
  training: {{batch: 2, learningRate: "1e-3"}}
  evaluation:
    prompts: {{dataset: prompts.jsonl, from: 6, count: 4}}
    evaluator: bradleyTerry
"""
    )
    return file


def start(file: Path, artifacts: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/services:{ROOT}/operator", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "selfie.cli", "run", str(file), "--artifacts", str(artifacts)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def wait_for(path: Path, process: subprocess.Popen[str], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.1)


def alive_below(folder: Path) -> list[str]:
    """Processes whose output goes to a file of the run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            output = (process / "fd/1").readlink()
            if output.is_relative_to(folder):
                found.append(f"{process.name} {(process / 'comm').read_text().strip()} {output}")
    return found


def digest_of_evaluator(store: Store) -> str:
    manifest = read_manifest(store, "rounds/00/evaluator")
    assert manifest is not None
    (entry,) = manifest.group("evaluator")
    return entry.sha256


def manifests(store: Store) -> dict[str, bytes]:
    paths = [path for path in store.list("") if path.endswith("/manifest.json")]
    return {path: store.read(path) for path in paths}


@pytest.mark.timeout(420)
@pytest.mark.slow
def test_a_run_that_is_interrupted_goes_on_to_its_report(run_file: Path, tmp_path: Path):
    artifacts = tmp_path / "runs"
    root = artifacts / "whole"
    store = open_store(root.as_uri())

    first = start(run_file, artifacts)
    wait_for(root / "rounds/00/seed/manifest.json", first, seconds=180)
    assert alive_below(root)
    first.send_signal(signal.SIGINT)
    output, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    assert "goes on from here" in output
    assert not alive_below(root)
    before = manifests(store)

    second = start(run_file, artifacts)
    output, errors = second.communicate(timeout=300)
    assert second.returncode == 0, (output, errors)
    report = Path(output.splitlines()[-1])
    assert report == root / "report/index.html"
    assert not [told for told in TOLD if told not in report.read_text()]
    assert not alive_below(root)

    after = manifests(store)
    assert {path: after[path] for path in before} == before
    assert set(after) == {f"{step.path}/manifest.json" for step in steps_of(read_run(store).spec)}
    assert read_status(store).is_terminal

    found = {step.path: read_manifest(store, step.path) for step in steps_of(read_run(store).spec)}
    for manifest in found.values():
        verify(store, manifest)
    published = weights_digest(found["rounds/00/publish"].group("checkpoint"))
    samples = read_group(store, found["rounds/01/generate"], "samples")
    pairs = read_group(store, found["rounds/01/filter"], "pairs")
    assert set(samples["policy_digest"].to_pylist()) == {published}
    assert set(pairs["policy_digest"].to_pylist()) == {published}
    assert found["rounds/01/train"].inputs["policy"] == published
    assert (
        found["rounds/01/train"].measures["parity_max_error"]
        <= found["rounds/01/train"].measures["parity_bound"]
    )

    ratings = read_group(store, found["rounds/01/evaluate-ratings"], "ratings")
    assert set(ratings["evaluator_digest"].to_pylist()) == {digest_of_evaluator(store)}

    third = start(run_file, artifacts)
    output, errors = third.communicate(timeout=60)
    assert third.returncode == 0, errors
    assert output.splitlines()[-1] == str(report)
    assert manifests(store) == after

    fork = run_file.with_name("fork.yaml")
    other = (
        run_file.read_text()
        .replace("name: whole", "name: fork")
        .replace("cut: keep", "noisyPercent: 40, cut: keep")
    )
    fork.write_text(other + f"  resumeFrom: {root.as_uri()}\n")
    output, errors = start(fork, artifacts).communicate(timeout=300)
    assert f"{len(after) - 8} steps taken over, 8 to be done" in output, (output, errors)
    forked = open_store((artifacts / "fork").as_uri())
    steps = steps_of(read_run(forked).spec)
    found = {step.path: read_manifest(forked, step.path) for step in steps}
    made = {path for path, manifest in found.items() if manifest.adopted is None}
    assert made == {"adopt", *(f"rounds/01/{name}" for name in ("filter", "train", *AFTER_TRAINING))}
    for manifest in found.values():
        verify(forked, manifest)
