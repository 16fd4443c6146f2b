"""Two steps of a run, one program: an evaluator is fitted, and it rates each policy's responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from selfie.artifacts.manifests import FileEntry, Manifest
from selfie.artifacts.programs import new_writer, parse
from selfie.artifacts.progress import ProgressWriter
from selfie.artifacts.rows import RATING_SCHEMA
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store
from selfie.method.arrays import FloatArray, floats
from selfie.method.bradley_terry import BradleyTerry
from selfie.models.loading import load_policy
from selfie.rating.embedding import Row, embed
from selfie.rating.files import NAME, write_evaluator
from selfie.rating.fitting import EmbeddedPairs, fit_evaluator, worth
from selfie.rating.parameters import Files, FitParameters, RateParameters
from selfie.rating.sources import fetch_evaluator, fetch_weights, rows_of

RATINGS, INITIAL_RATINGS = "ratings", "initial-ratings"


def rate(store: Store, raw: Mapping[str, Any]) -> Manifest:
    """Fits or rates, as ``raw`` says (`FitParameters`, `RateParameters`).

    `run_program` publishes the manifest. Raises `FailedPrecondition` ``WeightsDiffer`` and
    ``EvaluatorDiffers``, and `DataCorrupted` for a file that is not as its manifest has it.
    """
    parameters: FitParameters | RateParameters
    fits = raw.get("kind") == "fit"
    parameters = parse(FitParameters, raw) if fits else parse(RateParameters, raw)
    with ProgressWriter(store, parameters.attempt.path) as progress:
        work = _Work(store, parameters, progress)
        return work.fit(parameters) if isinstance(parameters, FitParameters) else work.rate(parameters)


@dataclass
class _Work:
    """One start of the program."""

    store: Store
    parameters: FitParameters | RateParameters
    progress: ProgressWriter
    writer: str = field(default_factory=new_writer)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _done: int = 0
    _total: int = 0

    def fit(self, parameters: FitParameters) -> Manifest:
        pairs, heldout = (rows_of(self.store, files) for files in (parameters.pairs, parameters.heldout))
        samples = rows_of(self.store, parameters.samples) if parameters.samples else None
        self._total = 2 * (pairs.num_rows + heldout.num_rows) + (
            samples.num_rows if samples is not None else 0
        )
        model = self._model()
        embedded = self._embed_pairs(model, pairs)
        self.progress.update(self._done, self._total, "fitting")
        evaluator, measures = fit_evaluator(embedded)
        entry = write_evaluator(self.store, evaluator, f"{parameters.attempt.path}/{self.writer}-{NAME}")
        measures |= worth(evaluator, self._embed_pairs(model, heldout))
        counts, files = {"pairs": pairs.num_rows, "heldout": heldout.num_rows}, [entry]
        if samples is not None:
            ratings = self._ratings(model, evaluator, samples)
            files.append(self._store_ratings(samples, ratings, entry.sha256, INITIAL_RATINGS))
            counts["samples"] = samples.num_rows
            measures |= _mean(ratings)
        inputs = {"pairs": parameters.pairs, "heldout": parameters.heldout, "samples": parameters.samples}
        return self._manifest(files, inputs, counts, measures)

    def rate(self, parameters: RateParameters) -> Manifest:
        evaluator, digest = fetch_evaluator(self.store, parameters)
        samples = rows_of(self.store, parameters.samples)
        self._total = samples.num_rows
        ratings = self._ratings(self._model(), evaluator, samples)
        entry = self._store_ratings(samples, ratings, digest, RATINGS)
        inputs = {"evaluator": parameters.evaluator, "samples": parameters.samples}
        return self._manifest([entry], inputs, {"samples": samples.num_rows}, _mean(ratings))

    def _model(self) -> PreTrainedModel:
        self.progress.update(0, self._total, "fetching the initial model")
        directory = fetch_weights(self.store, self.parameters.initial, self.parameters.cache_dir)
        return load_policy(directory, device="cuda" if torch.cuda.is_available() else "cpu")

    def _embed(self, model: PreTrainedModel, rows: Sequence[Row]) -> FloatArray:
        return embed(model, rows, self._tick)

    def _tick(self, rows: int) -> None:
        self._done += rows
        self.progress.update(self._done, self._total, "embedding responses")

    def _embed_pairs(self, model: PreTrainedModel, table: pa.Table) -> EmbeddedPairs:
        prompts, sides = table["prompt_ids"].to_pylist(), ("chosen_ids", "rejected_ids")
        chosen, rejected = (table[side].to_pylist() for side in sides)
        rows = [*map(Row, prompts, chosen), *map(Row, prompts, rejected)]
        found = self._embed(model, rows)
        return EmbeddedPairs(
            chosen=found[: table.num_rows],
            rejected=found[table.num_rows :],
            lengths=floats([len(a) - len(b) for a, b in zip(chosen, rejected, strict=True)]),
            prompts=table["prompt_digest"].to_pylist(),
        )

    def _ratings(self, model: PreTrainedModel, evaluator: BradleyTerry, samples: pa.Table) -> FloatArray:
        rows = map(Row, samples["prompt_ids"].to_pylist(), samples["response_ids"].to_pylist())
        return evaluator.ratings(self._embed(model, list(rows)))

    def _store_ratings(self, samples: pa.Table, ratings: FloatArray, digest: str, group: str) -> FileEntry:
        table = samples.select(["prompt_id", "sample_index"])
        table = table.append_column("rating", pa.array(ratings))
        table = table.append_column("evaluator_digest", pa.array([digest] * samples.num_rows))
        name = f"{group}-00000.parquet"
        path = f"{self.parameters.attempt.path}/{self.writer}-{name}"
        return write_shard(self.store, path, table, schema=RATING_SCHEMA, group=group, name=name)

    def _manifest(
        self,
        files: Sequence[FileEntry],
        inputs: Mapping[str, Files | None],
        counts: dict[str, int],
        measures: dict[str, float],
    ) -> Manifest:
        read = {role: each.sha256 for role, each in inputs.items() if each is not None}
        return self.parameters.attempt.manifest(
            writer=self.writer,
            started_at=self.started_at,
            files=tuple(files),
            inputs={"initial": self.parameters.initial.digest, **read},
            parameters=self.parameters.model_dump(
                mode="json", by_alias=True, exclude={"attempt", "cache_dir"}
            ),
            counts=counts,
            measures=measures,
        )


def _mean(ratings: FloatArray) -> dict[str, float]:
    """The mean rating of what has one; nothing where no response has a token."""
    known = ratings[np.isfinite(ratings)]
    return {"mean_rating": float(known.mean())} if known.size else {}
