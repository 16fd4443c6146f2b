"""Bytes in the artifact store: checkpoints as they are stored, and data sets as Parquet."""

from dataclasses import dataclass
from typing import Final

from selfie.runs.estimates.amounts import Work
from selfie.runs.estimates.data import Case
from selfie.runs.estimates.shapes import BYTES
from selfie.runs.spec import RunSpec
from selfie.runs.steps import Step

SMALL_FILES: Final = 4e6
"""Tokenizer, template, configuration and card of a checkpoint."""

_SHARD, _ROW, _TOKEN = 10e3, 150.0, 4.5
"""Bytes of a shard with its schema, of a row, and of a token as text and as id; after compression."""


@dataclass(frozen=True)
class Disk:
    """Bytes of a finished run: its models, its checkpoints, those of them that are retained, its data sets.

    Retained are the newest ones, as many as spec.retention says, and the best round's.
    """

    models: float
    checkpoints: float
    retained: float
    shards: float

    @property
    def whole(self) -> float:
        """With every checkpoint."""
        return self.models + self.checkpoints + self.shards

    @property
    def with_retention(self) -> float:
        """With the checkpoints that spec.retention keeps."""
        return self.models + self.retained + self.shards


def disk_of(case: Case, written: float) -> Disk:
    """What the store holds in the end, of all that the steps have ``written``."""
    checkpoint, count = checkpoint_bytes(case), trained_checkpoints(case.spec)
    retained = min(count, case.spec.retention.checkpoints + 1)
    models = model_bytes(case)
    return Disk(models, count * checkpoint, retained * checkpoint, written - models - count * checkpoint)


def disk_of_step(case: Case, step: Step, work: Work) -> float:
    """What a step leaves in the store."""
    data = work.shards * _SHARD + work.rows_written * _ROW + work.tokens_written * _TOKEN
    if step.name == "prepare" and step.round == 0:
        return data + model_bytes(case)
    return data + (checkpoint_bytes(case) if step.name in ("seed", "train") else 0.0)


def checkpoint_bytes(case: Case) -> float:
    """A published policy: merged, float32. `publish` adds its card and configuration and copies nothing."""
    return case.policy.weight_bytes + SMALL_FILES


def model_bytes(case: Case) -> float:
    """The copies that `prepare` keeps of the model, and of a reference model."""
    reference = case.reference.weight_bytes + SMALL_FILES if case.spec.reference_model else 0.0
    return checkpoint_bytes(case) + reference


def trained_checkpoints(spec: RunSpec) -> int:
    """One for each round, and one for the seed."""
    return len(spec.rounds) + (1 if spec.seed else 0)


def unfinished_bytes(case: Case, seconds: float) -> float:
    """What a training of ``seconds`` keeps to go on from: its two last states, gone when it is done."""
    lora = case.spec.training.lora
    trained = case.policy.adapter_parameters(lora.rank) if lora else case.policy.parameters
    states = min(int(seconds // case.spec.checkpoint_seconds), 2)
    return 3.0 * BYTES * states * trained
