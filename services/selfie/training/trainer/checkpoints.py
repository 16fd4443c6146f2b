"""Checkpoints to go on from, and the directory that a training ends in."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from selfie.artifacts.store import Store
from selfie.models.checkpoints import is_checkpoint_file
from selfie.training.trainer.noise_aware import STATE_FILE
from selfie.training.trainer.parameters import TrainingParameters
from selfie.training.trainer.recording import causal_model

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "config.json")


def work_directory(store: Store, parameters: TrainingParameters) -> Path:
    """Directory on this machine for the checkpoints of this attempt and these parameters.

    Beside the attempt where the store is a directory, else in the cache. Other parameters have
    another one, so that no training goes on from what another one has left.
    """
    attempt = parameters.attempt
    name = work_name(parameters)
    local = store.local_path(f"{attempt.step}/a{attempt.number}/{name}")
    elsewhere = parameters.cache_dir / "work" / attempt.run_uid / attempt.step / f"a{attempt.number}" / name
    directory = local or elsewhere
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def work_name(parameters: TrainingParameters) -> str:
    """A name for the work under these parameters, and under no others."""
    method = json.dumps(parameters.method(), sort_keys=True)
    return "work-" + hashlib.sha256(method.encode()).hexdigest()[:12]


def newest_checkpoint(directory: Path) -> Path | None:
    """The latest whole checkpoint below ``directory``; one that a crash left half written is passed over."""
    whole = [path.parent for path in directory.glob(f"checkpoint-*/{STATE_FILE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def save_policy(model: Any, source: Path, target: Path) -> None:
    """Writes a standard Hugging Face directory: the model, and all else as it is in ``source``.

    Adapters are merged. Weights are float32: rounded to bfloat16, an update of a small learning
    rate, a thousandth of a weight or less, would be gone. Tokenizer, template and generation config
    are copied as files, so that their digests stay those of the policy that was trained.
    """
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    causal_model(model).float().save_pretrained(target)
    for file in source.iterdir():
        if is_checkpoint_file(file.name) and not any(file.match(pattern) for pattern in _WEIGHTS):
            shutil.copyfile(file, target / file.name)
