"""An engine whose scores can be worked out by hand."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from selfie.artifacts.manifests import Manifest, ManifestRef, publish
from selfie.artifacts.rows import SAMPLE_SCHEMA
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store, open_store
from selfie.models.chat import ChatTokenizer
from selfie.rpc.operation_context import OperationContext
from selfie.scoring.core import Scorer
from selfie.scoring.dataset import score_dataset
from selfie.scoring.precision import EXACT, Arithmetic, Machine, Mode, arithmetic_of
from selfie.scoring.rows import Floats, Row, RowScore, Wanted
from selfie.scoring.worker import Worker
from toy_rows import Asked

POLICY, REFERENCE = "a" * 64, "b" * 64


class SimpleEngine:
    """Gives token id n the log-probability -n/100 by the policy and -n/50 by the reference.

    log Z is lambda/1000 a token, and the divergence 0.25; the rows of each call
    are kept. ``before_call`` is called before each and may raise. On a ``machine`` that has faster
    products, their sums are off by ``error`` of the row.
    """

    policy_digest = POLICY
    reference_digest = REFERENCE
    max_tokens = 40
    vocabulary = 1000

    def __init__(self) -> None:
        self.calls: list[list[Row]] = []
        self.policy_calls: list[list[Row]] = []
        self.before_call: Callable[[], None] = lambda: None
        self.machine = Machine()
        self.error: Callable[[Row], float] = lambda _row: 0.0

    def arithmetic(self, mode: Mode) -> Arithmetic:
        return arithmetic_of(mode, self.machine)

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        return [list(range(start, min(start + 2, len(rows)))) for start in range(0, len(rows), 2)]

    def score(self, rows: Sequence[Row], wanted: Wanted) -> list[RowScore]:
        self.before_call()
        self.calls.append(list(rows))
        return [self._score(row, wanted) for row in rows]

    def policy_tokens(self, rows: Sequence[Row], mode: Mode = EXACT) -> list[Floats]:
        self.policy_calls.append(list(rows))
        return [-np.array(row.response_ids, dtype=float) / 100 for row in rows]

    def _score(self, row: Row, wanted: Wanted) -> RowScore:
        ids, arithmetic = np.array(row.response_ids, dtype=float), self.arithmetic(wanted.mode)
        log_z = tuple(lam / 1000 * len(ids) for lam in wanted.lambdas)
        policy = -ids / 100
        if arithmetic.products != "float32":
            policy[0] += self.error(row)
        return RowScore(policy, -ids / 50, log_z, 0.25 if wanted.divergence else None, arithmetic)


@pytest.fixture
def engine() -> SimpleEngine:
    return SimpleEngine()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "run").as_uri())


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> ChatTokenizer:
    return ChatTokenizer(tiny_checkpoint)


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


@pytest.fixture
def context_of(store: Store) -> Iterator[Callable[..., OperationContext]]:
    """An attempt at scoring, by one writer."""
    loop = asyncio.new_event_loop()

    def make(writer: str, step: str = "rounds/01/score") -> OperationContext:
        return OperationContext(store=store, step=step, attempt=1, writer=writer, run_uid="uid", loop=loop)

    yield make
    loop.close()


@pytest.fixture
def score(context_of, engine, tokenizer: ChatTokenizer, worker: Worker) -> Callable[..., Manifest]:
    def run(asked: Asked, context: OperationContext | None = None) -> Manifest:
        return score_dataset(context or context_of("w1"), *asked, Scorer(engine, tokenizer), worker)

    return run


@pytest.fixture
def put(store: Store, context_of) -> Callable[..., ManifestRef]:
    """Publishes rows as a step's input, in shards of three rows."""

    def publish_rows(
        rows: list[dict], schema: pa.Schema = SAMPLE_SCHEMA, step: str = "rounds/01/generate"
    ) -> ManifestRef:
        shards = [rows[start : start + 3] for start in range(0, len(rows), 3)] or [[]]
        files = tuple(
            write_shard(
                store,
                f"{step}/{index}.parquet",
                pa.Table.from_pylist(shard, schema=schema),
                schema=schema,
                group="rows",
                name=f"{index}.parquet",
            )
            for index, shard in enumerate(shards)
        )
        return publish(store, context_of("g", step).manifest(files=files))

    return publish_rows
