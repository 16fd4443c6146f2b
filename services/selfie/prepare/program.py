"""The order of prepare: look at the data first, which is cheap and fails most, then at the model."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from selfie.artifacts.manifests import FileEntry, Manifest
from selfie.artifacts.programs import new_writer, parse
from selfie.artifacts.progress import ProgressWriter
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store
from selfie.artifacts.weights import weights_digest
from selfie.models.chat import ChatTokenizer
from selfie.models.checkpoints import context_length
from selfie.models.resolve import ResolvedModel
from selfie.prepare.groups import Group, Limits, Tokeniser
from selfie.prepare.parameters import PrepareParameters
from selfie.prepare.sources import Data, Downloads, Models, read_data, resolve_models

_ROWS_PER_SHARD = 1000


def prepare(store: Store, raw: dict[str, Any], *, downloads: Downloads | None = None) -> Manifest:
    """Resolves, checks, tokenises and stores what the run in ``raw`` (`PrepareParameters`) needs.

    Raises `InvalidInput`, with field, file and line, for whatever of it can't be used, and
    `FailedPrecondition` for a store without exclusive creation. `run_program` publishes the manifest.
    """
    parameters = parse(PrepareParameters, raw)
    store.probe_exclusive_create()
    with ProgressWriter(store, parameters.attempt.path) as progress:
        return _Preparation(store, parameters, downloads or Downloads(), progress).run()


@dataclass
class _Preparation:
    """One start of the program."""

    store: Store
    parameters: PrepareParameters
    downloads: Downloads
    progress: ProgressWriter
    writer: str = field(default_factory=new_writer)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self) -> Manifest:
        self.progress.update(0, 0, "reading the data sets")
        data = read_data(self.parameters, self.downloads)
        self.progress.update(0, data.rows, "fetching the model")
        models = resolve_models(self.parameters, self.downloads)
        tokenizer = ChatTokenizer(models.policy.directory)
        groups = self._groups(data, models, tokenizer)
        self.progress.update(data.rows, data.rows, "storing data and model")
        shards = [entry for group in groups for entry in self._store_group(group)]
        model = self._store_model(models.policy, "model")
        reference = self._store_model(models.reference, "reference") if models.reference else ()
        inputs = {
            **data.digests,
            "model": weights_digest(model),
            "template": tokenizer.template_digest,
            "tokenizer": tokenizer.tokenizer_digest,
        }
        if reference:
            inputs["reference"] = weights_digest(reference)
        return self.parameters.attempt.manifest(
            writer=self.writer,
            started_at=self.started_at,
            files=(*model, *reference, *shards),
            inputs=inputs,
            parameters=self._recorded_parameters(models),
            counts=_counts(groups),
            weights_digest=inputs["model"],
            template_digest=tokenizer.template_digest,
        )

    def _groups(self, data: Data, models: Models, tokenizer: ChatTokenizer) -> list[Group]:
        done = itertools.count(1)

        def tick() -> None:
            self.progress.update(next(done), data.rows, "tokenising")

        limits = Limits(self.parameters.max_prompt_tokens, context_length(models.policy.directory))
        tokeniser = Tokeniser(tokenizer, limits, tick)
        pairs = [tokeniser.pairs(name, rows) for name, rows in data.pairs.items()]
        return pairs + [tokeniser.prompts(name, rows) for name, rows in data.prompts.items()]

    def _store_group(self, group: Group) -> Iterator[FileEntry]:
        for index, start in enumerate(range(0, group.table.num_rows, _ROWS_PER_SHARD)):
            name = f"{group.name}-{index:05d}-{self.writer}.parquet"
            rows = group.table.slice(start, _ROWS_PER_SHARD)
            path = f"{self.parameters.attempt.path}/{name}"
            yield write_shard(self.store, path, rows, schema=group.schema, group=group.name, name=name)

    def _store_model(self, model: ResolvedModel, group: str) -> tuple[FileEntry, ...]:
        entries = []
        for file in model.files:
            path = f"{self.parameters.attempt.path}/{group}-{self.writer}/{file.name}"
            digest = self.store.upload(file, path, keep_source=not model.owned)
            entries.append(
                FileEntry(group=group, name=file.name, path=path, sha256=digest.sha256, bytes=digest.bytes)
            )
        return tuple(entries)

    def _recorded_parameters(self, models: Models) -> dict[str, Any]:
        recorded = self.parameters.model_dump(mode="json", by_alias=True, exclude={"attempt", "cache_dir"})
        recorded["model"]["revision"] = models.policy.revision
        if models.reference:
            recorded["referenceModel"]["revision"] = models.reference.revision
        return recorded


def _counts(groups: list[Group]) -> dict[str, int]:
    """Rows and cut prompts of every group, and how many prompts an earlier group has already."""
    counts, seen = {"repeated_prompts": 0}, set[str]()
    for group in groups:
        counts[group.name] = group.table.num_rows
        counts[f"{group.name}_truncated"] = group.truncated
        counts["repeated_prompts"] += len(group.prompt_digests & seen)
        seen |= group.prompt_digests
    return counts
