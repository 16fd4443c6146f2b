"""What prepare brings in: the rows of every group, and the models."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from selfie.errors import InvalidInput
from selfie.models.chat import vocabulary
from selfie.models.checkpoints import read_json
from selfie.models.hub import FileDownload, SnapshotDownload, dataset_file, model_snapshot
from selfie.models.resolve import ResolvedModel, resolve_model
from selfie.prepare.datasets import Dataset, read_dataset
from selfie.prepare.parameters import ModelSource, PairSource, PrepareParameters, PromptSource
from selfie.prepare.rows import (
    PairRow,
    PromptRow,
    pair_rows,
    prompt_rows,
    refuse_leaked,
    unused_pairs,
)


@dataclass(frozen=True)
class Downloads:
    """How snapshots of models and files of data sets come from the Hub."""

    model: SnapshotDownload = model_snapshot
    file: FileDownload = dataset_file


@dataclass(frozen=True)
class Data:
    """Checked rows by group, and the SHA-256 of the file that each group is from."""

    pairs: Mapping[str, tuple[PairRow, ...]]
    prompts: Mapping[str, tuple[PromptRow, ...]]
    digests: Mapping[str, str]

    @property
    def rows(self) -> int:
        """Rows of all groups together."""
        return sum(map(len, self.pairs.values())) + sum(map(len, self.prompts.values()))


@dataclass(frozen=True)
class Models:
    """The policy that the run starts from, and the judge's reference where that is another model."""

    policy: ResolvedModel
    reference: ResolvedModel | None


def read_data(parameters: PrepareParameters, downloads: Downloads) -> Data:
    """Every data set of the run, each file read once; `InvalidInput` for the first that is wrong."""
    reader = _Reader(parameters, downloads)
    pairs = {
        name: reader.pairs(name, source)
        for name, source in (("seed", parameters.seed), ("heldout", parameters.heldout))
        if source
    }
    prompts = {
        f"prompts-round-{number:02d}": reader.prompts(
            f"prompts-round-{number:02d}", f"rounds.{number - 1}", source
        )
        for number, source in enumerate(parameters.rounds, start=1)
    }
    if parameters.evaluation:
        prompts["evaluation-prompts"] = reader.prompts(
            "evaluation-prompts", "evaluation", parameters.evaluation
        )
    refuse_leaked(pairs.get("seed", ()), pairs.get("heldout", ()))
    if parameters.seed and parameters.evaluator_pairs:
        used = itertools.chain.from_iterable(pairs.values())
        pairs["evaluator"] = reader.unused_pairs(parameters.seed, parameters.evaluator_pairs, used)
    return Data(pairs, prompts, reader.digests)


def resolve_models(parameters: PrepareParameters, downloads: Downloads) -> Models:
    """Policy and reference as checked directories; `InvalidInput` if they don't share one vocabulary."""
    policy = _resolve(parameters, parameters.model, "model", downloads)
    if parameters.reference_model is None:
        return Models(policy, None)
    reference = _resolve(parameters, parameters.reference_model, "referenceModel", downloads)
    _require_one_vocabulary(policy, reference)
    return Models(policy, reference)


class _Reader:
    def __init__(self, parameters: PrepareParameters, downloads: Downloads) -> None:
        self._cache_root = parameters.cache_dir
        self._downloads = downloads
        self._read: dict[str, Dataset] = {}
        self.digests: dict[str, str] = {}

    def pairs(self, name: str, source: PairSource) -> tuple[PairRow, ...]:
        dataset = self._dataset(name, source.dataset, f"{name}.dataset")
        return pair_rows(dataset, size=source.size, field=f"{name}.size")

    def unused_pairs(self, source: PairSource, most: int, used: Iterable[PairRow]) -> tuple[PairRow, ...]:
        dataset = self._dataset("evaluator", source.dataset, "seed.dataset")
        after = source.size or len(dataset.rows)
        return unused_pairs(dataset, after=after, most=most, besides=used)

    def prompts(self, name: str, field: str, source: PromptSource) -> tuple[PromptRow, ...]:
        dataset = self._dataset(name, source.dataset, f"{field}.dataset")
        return prompt_rows(dataset, start=source.start, count=source.count, field=f"{field}.count")

    def _dataset(self, name: str, uri: str, field: str) -> Dataset:
        if uri not in self._read:
            self._read[uri] = read_dataset(
                uri, cache_root=self._cache_root, field=field, download=self._downloads.file
            )
        self.digests[name] = self._read[uri].sha256
        return self._read[uri]


def _resolve(
    parameters: PrepareParameters, source: ModelSource, field: str, downloads: Downloads
) -> ResolvedModel:
    return resolve_model(
        source.uri,
        cache_root=parameters.cache_dir,
        revision=source.revision,
        field=f"{field}.uri",
        download=downloads.model,
    )


def _require_one_vocabulary(policy: ResolvedModel, reference: ResolvedModel) -> None:
    """The judge gives both the same ids, and needs rows of logits that are equally long."""
    remedy = "use a reference with the model's own tokenizer, such as the base that it was tuned from"
    ours, theirs = vocabulary(policy.directory), vocabulary(reference.directory)
    differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
    if differing:
        problem = (
            f"has another vocabulary than the model; {len(differing)} tokens differ, such as {differing[0]!r}"
        )
        raise InvalidInput("referenceModel.uri", problem, remedy)
    sizes = [read_json(model.directory / "config.json").get("vocab_size") for model in (policy, reference)]
    if sizes[0] != sizes[1]:
        raise InvalidInput(
            "referenceModel.uri", f"has logits for {sizes[1]} ids, the model for {sizes[0]}", remedy
        )
