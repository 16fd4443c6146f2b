"""ScoreDataset: a data set through the scorer, shard by shard, into responses and pairs.

Scores are what takes time: they are written as soon as there is a shard of them, and are never made
again. Pairs and measures follow from the scores, and are made anew by whoever finishes the work.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import pyarrow as pa

from selfie.artifacts.manifests import FileEntry, Manifest, ManifestRef, read_ref
from selfie.artifacts.rows import PAIR_SCHEMA, SCORED_SCHEMA
from selfie.artifacts.shards import read_shard
from selfie.artifacts.store import Store
from selfie.method.pairing import NoPair
from selfie.rpc.operation_context import OperationContext
from selfie.scoring.ahead import ScoredAhead
from selfie.scoring.core import Scorer
from selfie.scoring.flips import Flips
from selfie.scoring.judged import Fields
from selfie.scoring.kinds import KINDS, Kind
from selfie.scoring.known import known_reference
from selfie.scoring.precision import AUTO, EXACT
from selfie.scoring.shard_scoring import ShardScorer
from selfie.scoring.tasks import Task, refuse_other_weights
from selfie.scoring.worker import Worker


def score_dataset(
    context: OperationContext, task: Task, source: ManifestRef, scorer: Scorer, worker: Worker
) -> Manifest:
    """Scores the data set and returns what to publish: groups ``responses`` and ``pairs``.

    Raises FailedPrecondition if the resident weights are not those asked for, or did not sample the
    responses, and InvalidInput for a row that cannot be scored; no row is ever cut or skipped.
    """
    refuse_other_weights(task, scorer)
    return _DatasetScoring(context, task, source, scorer, worker).run()


class _DatasetScoring:
    """One attempt at one data set."""

    def __init__(
        self, context: OperationContext, task: Task, source: ManifestRef, scorer: Scorer, worker: Worker
    ) -> None:
        self._context = context
        self._task = task
        self._source = source
        self._scorer = scorer
        self._kind: Kind = KINDS[task.kind](task.judging)
        self._finished = {group: context.finished_shards(group) for group in ("responses", "pairs")}
        self._files: dict[str, list[FileEntry]] = {"responses": [], "pairs": []}
        self._done = 0
        self._total = 0
        self._flips = Flips(context.store, task.reference_scores)
        self._first = scorer.first_mode(task.precision)
        self._rescored = 0
        # Under `auto` sums of two modes stand side by side, and none is taken over.
        provenance = replace(scorer.provenance, precision=self._first)
        known = None if task.precision == AUTO else task.reference_scores
        reference = known_reference(context.store, known, provenance)
        self._shards = ShardScorer(task, scorer, worker, reference)
        self._ahead = ScoredAhead.of(context.store, context.step, task, scorer.provenance)

    def run(self) -> Manifest:
        store, task = self._context.store, self._task
        entries = read_ref(store, self._source).group(task.group)
        self._total = sum(entry.rows or 0 for entry in entries)
        groups = self._kind.groups(_rows(store, entries))
        for index, shard in enumerate(_shards(groups, task.shard_rows)):
            self._do_shard(index, shard)
        self._ahead.let_go()
        return self._manifest()

    def _do_shard(self, index: int, groups: Sequence[Sequence[Fields]]) -> None:
        rows = sum(len(group) for group in groups)
        samples = [self._kind.samples(group) for group in groups]
        scored = iter(self._scored(index, samples, ahead=rows))
        made = [
            self._kind.add(group, list(islice(scored, len(asked))))
            for group, asked in zip(groups, samples, strict=True)
        ]
        pairs = [pair for pair in made if not isinstance(pair, NoPair)]
        for pair in pairs:
            self._flips.add(pair)
        self._write("pairs", index, pairs, PAIR_SCHEMA)
        self._done += rows
        self._context.progress(self._done, self._total)

    def _scored(self, index: int, groups: Sequence[Sequence[Fields]], *, ahead: int) -> Sequence[Fields]:
        """The samples with their scores: read if an earlier worker got this far, else made and written."""
        finished = self._finished["responses"].get(index)
        if finished is not None:
            self._files["responses"].append(finished)
            return self._counted(_rows_of(self._context.store, finished))
        scored = self._ahead.read(groups)
        if scored is None:
            scored = self._shards.scored(groups, partial(self._tell, ahead))
        self._write("responses", index, scored, SCORED_SCHEMA)
        return self._counted(scored)

    def _tell(self, rows: int, share: float) -> None:
        self._context.progress(self._done + int(rows * share), self._total)

    def _counted(self, scored: Sequence[Fields]) -> Sequence[Fields]:
        if self._first != EXACT:
            self._rescored += sum(row["precision"] == EXACT for row in scored)
        return scored

    def _write(self, group: str, index: int, rows: Sequence[Fields], schema: pa.Schema) -> None:
        entry = self._finished[group].get(index)
        if entry is None:
            table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
            entry = self._context.write_shard(table, schema=schema, group=group, index=index)
        self._files[group].append(entry)

    def _manifest(self) -> Manifest:
        provenance, task = self._scorer.provenance, self._task
        return self._context.manifest(
            files=(*self._files["responses"], *self._files["pairs"]),
            inputs={
                **_named("reference-scores", task.reference_scores),
                "input": self._source.sha256,
                "policy": provenance.policy_digest,
                "reference": provenance.reference_digest,
                "tokenizer": provenance.tokenizer_digest,
            },
            parameters=task.parameters(),
            counts=self._kind.counts() | ({"rescored": self._rescored} if task.precision == AUTO else {}),
            measures=self._kind.measures() | self._flips.measures(),
        )


def _named(role: str, ref: ManifestRef | None) -> dict[str, str]:
    return {} if ref is None else {role: ref.sha256}


def _rows(store: Store, entries: Iterable[FileEntry]) -> Iterator[Fields]:
    for entry in entries:
        yield from _rows_of(store, entry)


def _rows_of(store: Store, entry: FileEntry) -> list[Fields]:
    rows: list[Fields] = read_shard(store, entry).to_pylist()
    return rows


def _shards(groups: Iterator[Sequence[Fields]], size: int) -> Iterator[list[Sequence[Fields]]]:
    """Groups by ``size``; at least one shard, so that a data set of nothing has its files too."""
    yield list(islice(groups, size))
    while shard := list(islice(groups, size)):
        yield shard
