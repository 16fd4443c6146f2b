"""Scores of samples that are still being drawn, for the call that scores them once they are published.

A shard's scores are filed by the digest of all that they follow from: the rows, the task and the
weights. So nothing is taken over that would not be made again bit for bit, and which attempt at the
samples is published in the end does not matter.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, NoReturn

import pyarrow as pa

from selfie.artifacts.manifests import FileEntry, read_manifest
from selfie.artifacts.rows import SCORED_SCHEMA
from selfie.artifacts.shards import finish_shard, finished_shards, is_whole, read_shard
from selfie.artifacts.store import Store
from selfie.errors import Cancelled
from selfie.rpc.operation_context import OperationContext
from selfie.runs.steps import ahead_of
from selfie.scoring import metrics
from selfie.scoring.core import Provenance, Scorer
from selfie.scoring.judged import Fields
from selfie.scoring.kinds import KINDS
from selfie.scoring.shard_scoring import ShardScorer
from selfie.scoring.tasks import Task, UnpublishedSamples, refuse_other_weights
from selfie.scoring.worker import Worker

LOOK_EVERY_S: Final = 2.0
GROUP: Final = "ahead"
_SIDE_CAR: Final = ".parquet.json"


@dataclass(frozen=True)
class ScoredAhead:
    """What was scored for a step before its samples were published, by `shard_key`."""

    store: Store
    task: Task
    provenance: Provenance
    side_cars: Mapping[str, str]

    @classmethod
    def of(cls, store: Store, step: str, task: Task, provenance: Provenance) -> "ScoredAhead":
        """What there is for this step."""
        paths = [path for path in store.list(ahead_of(step)) if path.endswith(_SIDE_CAR)]
        found = {path.rpartition("/")[2].removesuffix(_SIDE_CAR): path for path in paths}
        return cls(store, task, provenance, found)

    def read(self, groups: Sequence[Sequence[Fields]]) -> list[Fields] | None:
        """The scored rows of a shard; None if they are not there, or not as they were written."""
        if not self.side_cars:
            return None
        path = self.side_cars.get(shard_key(groups, self.task, self.provenance))
        if path is None:
            return None
        entry = FileEntry.model_validate_json(self.store.read(path))
        if not is_whole(self.store, entry):
            return None
        metrics.AHEAD.labels("taken_over").inc()
        rows: list[Fields] = read_shard(self.store, entry).to_pylist()
        return rows

    def let_go(self) -> None:
        """Deletes them all: they have been taken over, or never will be."""
        for path in self.side_cars.values():
            self.store.delete(path)
            self.store.delete(path.removesuffix(".json"))


def shard_key(groups: Sequence[Sequence[Fields]], task: Task, provenance: Provenance) -> str:
    """SHA-256 of all that the scores of a shard follow from."""
    made_of = {"rows": groups, "task": task.parameters(), "provenance": asdict(provenance)}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def score_ahead(
    context: OperationContext, task: Task, samples: UnpublishedSamples, scorer: Scorer, worker: Worker
) -> NoReturn:
    """Scores each shard of samples that is finished, until they are published, which ends it: `Cancelled`.

    Raises FailedPrecondition if the resident weights are not those asked for, or did not sample the
    responses.
    """
    refuse_other_weights(task, scorer)
    _AheadScoring(context, task, samples, scorer, worker).run()


class _AheadScoring:
    """One attempt, beside one attempt at the samples."""

    def __init__(
        self,
        context: OperationContext,
        task: Task,
        samples: UnpublishedSamples,
        scorer: Scorer,
        worker: Worker,
    ) -> None:
        self._context = context
        self._task = task
        self._samples = samples
        self._provenance = scorer.provenance
        self._shards = ShardScorer(task, scorer, worker, {})
        self._seen: set[int] = set()
        self._done = 0
        self._looked_at = time.monotonic()

    def run(self) -> NoReturn:
        while True:
            for index, entry in sorted(self._finished().items()):
                self._seen.add(index)
                self._do_shard(read_shard(self._context.store, entry).to_pylist())
            self._rest()

    def _finished(self) -> dict[int, FileEntry]:
        place = f"{self._samples.step}/a{self._samples.attempt}"
        return finished_shards(self._context.store, place, self._task.group, without=self._seen)

    def _do_shard(self, rows: Sequence[Fields]) -> None:
        kind = KINDS[self._task.kind](self._task.judging)
        groups = [kind.samples(group) for group in kind.groups(rows)]
        key = shard_key(groups, self._task, self._provenance)
        path = f"{self._context.attempt_path}/{key}.parquet"
        if not self._context.store.exists(f"{path}.json"):
            self._write(path, self._shards.scored(groups, lambda _: self._go_on()))
        self._done += len(rows)
        metrics.AHEAD.labels("scored").inc()

    def _write(self, path: str, scored: Sequence[Fields]) -> None:
        table = pa.Table.from_pylist([dict(row) for row in scored], schema=SCORED_SCHEMA)
        name = path.rpartition("/")[2]
        finish_shard(self._context.store, path, table, schema=SCORED_SCHEMA, group=GROUP, name=name)

    def _rest(self) -> None:
        # It is stopped sooner than it looks again, which is a list of the store.
        for _ in range(4):
            time.sleep(LOOK_EVERY_S / 4)
            self._go_on()

    def _go_on(self) -> None:
        """Raises `Cancelled` when it is to stop, or there is nothing more to be done ahead."""
        self._context.progress(self._done, 0)
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if read_manifest(self._context.store, self._samples.step) is not None:
                raise Cancelled("the samples are published, and are scored as such")
