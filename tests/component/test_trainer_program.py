"""The training program as a whole: from manifests in a store to a checkpoint that loads."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selfie.artifacts.manifests import Manifest, read_manifest, verify
from selfie.artifacts.rows import PAIR_SCHEMA
from selfie.artifacts.shards import read_group
from selfie.artifacts.weights import add_directory, weights_digest
from selfie.errors import FailedPrecondition, InvalidInput
from selfie.models.chat import ChatTokenizer
from selfie.models.loading import load_policy
from selfie.training.trainer.__main__ import main
from selfie.training.trainer.noise_aware import STATE_FILE
from selfie.training.trainer.program import train
from trainer_rounds import PAIRS, POLICY_STEP, RUN, TRAIN_STEP, Run, publish_step

# TRL 1.16 asks transformers by a name that is about to go.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture
def run(tmp_path: Path, tiny_checkpoint: Path) -> Run:
    return Run(tmp_path, tiny_checkpoint)


def after(steps: int) -> Callable[[], bool]:
    """Asks for a stop after so many steps."""
    asked = iter([False] * (steps - 1) + [True])
    return lambda: next(asked)


def weights_of(manifest: Manifest) -> str:
    return next(entry.sha256 for entry in manifest.files if entry.name == "model.safetensors")


def test_a_round_ends_in_a_checkpoint_that_loads_and_a_manifest_that_says_how(
    run: Run, tiny_checkpoint: Path
) -> None:
    manifest = run.train()
    verify(run.store, manifest)
    directory = run.checkpoint(manifest)
    policy = load_policy(directory)
    before = load_policy(tiny_checkpoint)
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    assert json.loads((directory / "config.json").read_text())["dtype"] == "float32"
    assert not torch.equal(policy.lm_head.weight, before.lm_head.weight)
    assert ChatTokenizer(directory).tokenizer_digest == ChatTokenizer(tiny_checkpoint).tokenizer_digest
    generation = "generation_config.json"
    assert (directory / generation).read_bytes() == (tiny_checkpoint / generation).read_bytes()
    assert manifest.weights_digest == weights_digest(manifest.group("checkpoint")) != run.policy_digest
    assert manifest.inputs["policy"] == manifest.inputs["reference"] == run.policy_digest
    assert manifest.inputs["pairs"] == run.pairs.sha256
    assert manifest.template_digest == ChatTokenizer(tiny_checkpoint).template_digest
    assert (manifest.round, manifest.step, manifest.attempt, manifest.run_uid) == (1, TRAIN_STEP, 1, RUN)


def test_the_manifest_tells_a_working_noise_detector_from_an_idle_one(run: Run) -> None:
    manifest = run.train()
    measures, log = manifest.measures, read_group(run.store, manifest, "steps").to_pylist()
    assert manifest.counts == {
        "pairs": PAIRS,
        "steps": 6,
        "pairs_seen": 2 * PAIRS,
        "z_ones": sum(row["noisy"] for row in log),
        "tokens": sum(row["tokens"] for row in log),
    }
    assert (measures["window"], measures["warmup_steps"], measures["steps"]) == (12, 2, 6)
    assert [row["threshold"] is not None for row in log] == [False] * 2 + [True] * 4
    assert measures["noisy_steps"] == 4
    assert measures["z_ones"] > 0
    assert measures["noisy_share"] == pytest.approx(measures["z_ones"] / (2 * PAIRS))
    assert measures["loss_first"] == pytest.approx(np.log(2), abs=1e-6)
    assert measures["loss_last"] == log[-1]["loss"] < 0.68
    assert measures["train_accuracy"] > 0.5
    assert 0 < measures["parity_max_error"] < measures["parity_bound"] < 1e-2
    idle = run.train(step="rounds/01/idle", window=1000)
    assert (idle.measures["noisy_steps"], idle.measures["z_ones"]) == (0, 0)


def test_progress_shows_the_loss_and_the_steps(run: Run) -> None:
    run.train()
    progress = json.loads(run.store.read(f"{TRAIN_STEP}/a1/progress.json"))
    assert (progress["done"], progress["total"]) == (6, 6)
    assert progress["measures"]["loss"] < 0.68
    assert set(progress["measures"]) == {"loss", "accuracy", "margin", "noisy"}


def test_the_same_training_gives_the_same_weights(run: Run) -> None:
    again = run.train(step="rounds/01/again")
    other = run.train(step="rounds/01/other", randomSeed=5)
    assert weights_of(run.train()) == weights_of(again) != weights_of(other)


@pytest.mark.parametrize("changes", [{}, {"lora": {"rank": 4, "alpha": 8}}, {"threshold": "parity"}], ids=str)
def test_a_training_stopped_within_a_window_goes_on_to_the_same_weights(
    run: Run, changes: dict[str, Any]
) -> None:
    undisturbed = run.train(step="rounds/01/undisturbed", **changes)
    for stop in (2, 2):
        with pytest.raises(SystemExit):
            train(run.store, run.parameters(**changes), stopping=after(stop))
        assert read_manifest(run.store, TRAIN_STEP) is None
    finished = run.train(**changes)
    assert weights_of(finished) == weights_of(undisturbed)
    logs = [read_group(run.store, manifest, "steps") for manifest in (finished, undisturbed)]
    assert logs[0].equals(logs[1])
    assert finished.counts == undisturbed.counts


def test_a_checkpoint_that_a_crash_left_half_written_is_passed_over(run: Run) -> None:
    undisturbed = run.train(step="rounds/01/undisturbed")
    with pytest.raises(SystemExit):
        train(run.store, run.parameters(checkpointSeconds=1e-6), stopping=after(4))
    (work,) = (run.root / "store" / TRAIN_STEP / "a1").glob("work-*")
    checkpoints = sorted(path.name for path in work.glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-3", "checkpoint-4"]
    (work / "checkpoint-4" / STATE_FILE).unlink()
    (work / "checkpoint-4" / "model.safetensors").write_bytes(b"torn")
    assert weights_of(run.train()) == weights_of(undisturbed)


def test_another_training_in_the_same_attempt_does_not_go_on_from_its_checkpoint(run: Run) -> None:
    with pytest.raises(SystemExit):
        train(run.store, run.parameters(), stopping=after(3))
    other = run.train(learningRate=1e-3)
    assert weights_of(other) == weights_of(run.train(step="rounds/01/other", learningRate=1e-3))


def test_adapters_are_merged_into_a_whole_model(run: Run, tiny_checkpoint: Path) -> None:
    manifest = run.train(lora={"rank": 4, "alpha": 8}, learningRate=2e-2)
    directory = run.checkpoint(manifest)
    policy, before = load_policy(directory), load_policy(tiny_checkpoint)
    changed = {
        name
        for name, value in policy.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    assert changed
    assert all("_proj" in name for name in changed)
    assert not (directory / "adapter_config.json").exists()
    assert manifest.measures["loss_last"] < 0.68


def test_products_of_lower_precision_leave_weights_in_float32(run: Run) -> None:
    manifest = run.train(precision="bfloat16")
    policy = load_policy(run.checkpoint(manifest))
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    assert manifest.measures["loss_last"] < 0.68
    assert 1e-3 < manifest.measures["parity_max_error"] < manifest.measures["parity_bound"]


def test_seed_pairs_have_no_scores_to_compare_with(run: Run) -> None:
    pairs = {"path": run.seed.path, "sha256": run.seed.sha256, "group": "seed"}
    manifest = run.train(kind="seed", pairs=pairs, refinement="none", step="rounds/00/seed", **{"lambda": 0})
    assert not [name for name in manifest.measures if name.startswith("parity")]
    assert manifest.measures["loss_last"] < 0.68
    assert manifest.measures["window"] == 0


def altered(checkpoint: Path, target: Path) -> Path:
    """The checkpoint with one weight matrix a little off."""
    shutil.copytree(checkpoint, target)
    weights = load_file(target / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"] *= 1.001
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_altered_weights_are_refused_before_anything_is_trained(run: Run, tiny_checkpoint: Path) -> None:
    entries = add_directory(
        run.store, altered(tiny_checkpoint, run.root / "altered"), group="checkpoint", path="altered"
    )
    digest = weights_digest(entries)
    publish_step(run.store, "rounds/00/altered", entries)
    rows = [row | {"policy_digest": digest} for row in run.rows]
    pairs = run.publish("rounds/01/altered", rows, PAIR_SCHEMA, "pairs")
    with pytest.raises(FailedPrecondition, match="nats apart") as caught:
        run.train(
            policy={"step": "rounds/00/altered", "digest": digest},
            pairs={"path": pairs.path, "sha256": pairs.sha256, "group": "pairs"},
        )
    assert caught.value.reason == "ParityBroken"


def test_pairs_of_another_policy_are_refused(run: Run) -> None:
    rows = [*run.rows[:-1], run.rows[-1] | {"policy_digest": "1" * 64}]
    pairs = run.publish("rounds/01/other", rows, PAIR_SCHEMA, "pairs")
    with pytest.raises(FailedPrecondition, match="was scored by the policy 1111") as caught:
        run.train(pairs={"path": pairs.path, "sha256": pairs.sha256, "group": "pairs"})
    assert caught.value.reason == "PolicyDiffers"


def test_weights_of_another_digest_are_refused(run: Run) -> None:
    rows = [row | {"policy_digest": "2" * 64} for row in run.rows]
    pairs = run.publish("rounds/01/other", rows, PAIR_SCHEMA, "pairs")
    with pytest.raises(FailedPrecondition, match="as asked") as caught:
        run.train(
            policy={"step": POLICY_STEP, "digest": "2" * 64},
            pairs={"path": pairs.path, "sha256": pairs.sha256, "group": "pairs"},
        )
    assert caught.value.reason == "WeightsDiffer"


def test_starting_from_the_initial_policy_still_compares_the_rounds_own(
    run: Run, tiny_checkpoint: Path
) -> None:
    entries = add_directory(
        run.store, altered(tiny_checkpoint, run.root / "initial"), group="model", path="initial"
    )
    initial = {"step": "initial", "group": "model", "digest": weights_digest(entries)}
    publish_step(run.store, "initial", entries)
    manifest = run.train(initialPolicy="initial", initial=initial)
    assert manifest.inputs["reference"] == initial["digest"] != manifest.inputs["policy"] == run.policy_digest
    assert manifest.measures["parity_pairs"] == 8
    assert weights_of(manifest) != weights_of(run.train(step="rounds/01/previous"))


def test_a_wrong_parameter_is_refused_by_its_path(run: Run) -> None:
    with pytest.raises(InvalidInput) as caught:
        run.train(beta=0)
    assert caught.value.field == "parameters.beta"


@pytest.mark.slow
def test_the_process_makes_a_checkpoint_on_sigterm_and_goes_on_when_started_again(run: Run) -> None:
    parameters = run.root / "parameters.json"
    parameters.write_text(json.dumps(run.parameters(epochs=20)))
    attempt = run.root / "store" / TRAIN_STEP / "a1"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "selfie.training.trainer", "--parameters", str(parameters)]
    with subprocess.Popen(command, env=environment) as process:
        progress = attempt / "progress.json"
        while not progress.exists() or json.loads(progress.read_text())["done"] < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert list(attempt.glob(f"work-*/checkpoint-*/{STATE_FILE}"))
    assert not (attempt / "error.json").exists()
    assert main(["--parameters", str(parameters)]) == 0
    manifest = read_manifest(run.store, TRAIN_STEP)
    assert manifest is not None
    assert manifest.counts["steps"] == 60
    assert manifest.measures["pairs_per_second"] * manifest.measures["seconds"] < 60 * 8
    assert not list(attempt.glob("work-*"))
