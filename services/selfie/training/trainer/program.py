"""One training, from its parameters to its manifest."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import torch
import transformers

from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import FileEntry, Manifest
from selfie.artifacts.programs import new_writer, parse, rank
from selfie.artifacts.progress import ProgressWriter
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store
from selfie.artifacts.weights import add_directory, weights_digest
from selfie.training.trainer.assembly import assemble
from selfie.training.trainer.callbacks import Pace
from selfie.training.trainer.checkpoints import save_policy, work_directory
from selfie.training.trainer.dataset import training_set
from selfie.training.trainer.kept import Keeping, KeptCheckpoints
from selfie.training.trainer.noise_aware import NoiseAwareDPOTrainer
from selfie.training.trainer.parameters import TrainingParameters
from selfie.training.trainer.parity import Parity, measure_parity
from selfie.training.trainer.peers import is_main, peers_needed
from selfie.training.trainer.sources import Sources, fetch_sources
from selfie.training.trainer.speed import Speed
from selfie.training.trainer.steps import (
    NOISE_SCHEMA,
    STEP_SCHEMA,
    StepRecord,
    noise_table,
    step_table,
)
from selfie.training.trainer.summary import counts, measures

logger = logging.getLogger(__name__)

CHECKPOINT, STEPS, NOISE = "checkpoint", "steps", "noise"


def train(
    store: Store,
    raw: Mapping[str, Any],
    *,
    stopping: Callable[[], bool] | None = None,
    discard: Callable[[Callable[[], None]], None] = lambda _: None,
) -> Manifest:
    """Trains what ``raw`` (`TrainingParameters`) says; `run_program` publishes the manifest.

    Goes on from the newest checkpoint that an earlier start of the same attempt has left. When
    ``stopping`` says so, by default on SIGTERM, it makes a checkpoint after the current step and
    exits the process. ``discard`` is given what removes the checkpoints that nobody needs once the
    manifest is there. Of several ranks the first has the manifest, and the others an empty one.

    Raises `FailedPrecondition`: ``ParityBroken``, ``PolicyDiffers``, ``WeightsDiffer``, ``NoPairs``,
    ``TrainingDiverged``; `InvalidInput` for a pair that can't be trained on whole.
    """
    parameters = parse(TrainingParameters, raw)
    _set_up_process(parameters)
    with _asked_to_stop(stopping) as asked, peers_needed():
        training = _Training(store, parameters, work_directory(store, parameters), asked)
        manifest = training.run()
    if is_main():
        discard(training.kept.discard)
    return manifest


@dataclass
class _Training:
    """One start of the program."""

    store: Store
    parameters: TrainingParameters
    directory: Path
    stopping: Callable[[], bool]
    writer: str = field(default_factory=new_writer)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def kept(self) -> KeptCheckpoints:
        """The checkpoints of this training, here and in the store."""
        prefix = f"{self.parameters.attempt.path}/checkpoints/{self.directory.name}"
        return KeptCheckpoints(self.store, prefix, self.directory, self.writer)

    def run(self) -> Manifest:
        with self._progress() as progress:
            progress.update(0, 0, "fetching weights and pairs")
            sources = fetch_sources(self.store, self.parameters)
            trainer = self._assemble(sources)
            progress.update(0, 0, "comparing with the scorer")
            parity = measure_parity(trainer, sources, self.parameters)
        # Another writer, because one estimates the time left from its first update on.
        with self._progress() as progress:
            seconds = self._train(trainer, progress)
            if not is_main():
                return self.parameters.attempt.manifest(writer=self.writer, started_at=self.started_at)
            total = len(trainer.steps)
            progress.update(total, total, "storing the policy", **_latest(trainer.steps))
            files = self._store(trainer, sources)
        return self._manifest(trainer, sources, files, measures(trainer, seconds=seconds) | _figures(parity))

    def _progress(self) -> ProgressWriter:
        return ProgressWriter(self.store, self.parameters.attempt.path, silent=rank() > 0)

    def _assemble(self, sources: Sources) -> NoiseAwareDPOTrainer:
        pairs = training_set(sources.rows, max_tokens=sources.max_tokens, vocabulary=sources.vocabulary)
        return assemble(self.parameters, pairs, start=sources.start, directory=self.directory)

    def _train(self, trainer: NoiseAwareDPOTrainer, progress: ProgressWriter) -> float:
        """Seconds that the training took in this start."""
        speed = Speed()

        def report(done: int, total: int) -> None:
            figures = _latest(trainer.steps)
            here = speed.measures(trainer.steps[trainer.first_step :])
            progress.update(done, total, "training", **figures, **here)
            logger.info("step %d of %d: %s", done, total, figures)

        trainer.add_callback(
            Pace(report, checkpoint_seconds=self.parameters.checkpoint_seconds, stopping=self.stopping)
        )
        trainer.add_callback(Keeping(self.kept))
        checkpoint = self.kept.newest()
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if trainer.state.global_step < trainer.state.max_steps:
            sys.exit(Exit.TERMINATED)
        return time.monotonic() - started

    def _store(self, trainer: NoiseAwareDPOTrainer, sources: Sources) -> tuple[FileEntry, ...]:
        attempt = self.parameters.attempt.path
        directory = self.directory / f"policy-{self.writer}"
        save_policy(trainer.model, sources.start, directory)
        weights = add_directory(
            self.store, directory, group=CHECKPOINT, path=f"{attempt}/{CHECKPOINT}-{self.writer}"
        )
        log = self._write(STEPS, step_table(trainer.steps), STEP_SCHEMA)
        if trainer.noise.refinement != "online":
            return (*weights, log)
        pair_ids = [str(row["pair_id"]) for row in sources.rows]
        return (*weights, log, self._write(NOISE, noise_table(trainer.steps, pair_ids), NOISE_SCHEMA))

    def _write(self, group: str, table: pa.Table, schema: pa.Schema) -> FileEntry:
        name = f"{group}-00000"
        path = f"{self.parameters.attempt.path}/{name}-{self.writer}.parquet"
        return write_shard(self.store, path, table, schema=schema, group=group, name=f"{name}.parquet")

    def _manifest(
        self,
        trainer: NoiseAwareDPOTrainer,
        sources: Sources,
        files: tuple[FileEntry, ...],
        figures: dict[str, float],
    ) -> Manifest:
        return self.parameters.attempt.manifest(
            writer=self.writer,
            started_at=self.started_at,
            files=files,
            inputs={
                **sources.inputs,
                "policy": self.parameters.policy.digest,
                "reference": self.parameters.start.digest,
                "pairs": self.parameters.pairs.sha256,
            },
            parameters=self.parameters.method(),
            counts=counts(trainer),
            measures=figures,
            weights_digest=weights_digest(entry for entry in files if entry.group == CHECKPOINT),
            template_digest=sources.inputs.get("template"),
        )


def _latest(steps: list[StepRecord]) -> dict[str, float]:
    if not steps:
        return {}
    last = steps[-1]
    return {"loss": last.loss, "accuracy": last.accuracy, "margin": last.margin, "noisy": float(last.noisy)}


def _figures(parity: Parity | None) -> dict[str, float]:
    # Pairs that people labelled were never scored: there is nothing to compare with, and no figure says so.
    if parity is None:
        return {}
    return {
        "parity_max_error": parity.max_error,
        "parity_bound": parity.bound,
        "parity_pairs": float(parity.pairs),
    }


def _set_up_process(parameters: TrainingParameters) -> None:
    if parameters.threads:
        torch.set_num_threads(parameters.threads)
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


@contextmanager
def _asked_to_stop(stopping: Callable[[], bool] | None) -> Iterator[Callable[[], bool]]:
    """``stopping``, or else whether SIGTERM has come meanwhile."""
    if stopping is not None:
        yield stopping
        return
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
