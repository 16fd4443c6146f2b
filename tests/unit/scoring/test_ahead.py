"""Samples that are scored while others are drawn, and what becomes of that when they are published."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from selfie.artifacts.manifests import FileEntry, publish
from selfie.artifacts.rows import SAMPLE_SCHEMA
from selfie.artifacts.store import Store
from selfie.errors import Cancelled, FailedPrecondition
from selfie.rpc.operation_context import OperationContext
from selfie.scoring import ahead
from selfie.scoring.ahead import score_ahead
from selfie.scoring.core import Scorer
from selfie.scoring.tasks import UnpublishedSamples
from toy_rows import all_samples, sample, task
from waiting import until

GENERATE, SCORE = "rounds/01/generate", "rounds/01/score"
SHARD = 4
"""Rows of two prompts, as many as `task` has in a shard."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LOOK_EVERY_S", 0.02)


class Drawing:
    """An attempt at drawing samples, shard by shard."""

    def __init__(self, context: OperationContext) -> None:
        self.context = context
        self.files: dict[int, FileEntry] = {}

    def finish(self, index: int) -> None:
        rows = all_samples()[SHARD * index : SHARD * (index + 1)]
        table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
        self.files[index] = self.context.write_shard(table, schema=SAMPLE_SCHEMA, group="rows", index=index)

    def publish(self):
        files = tuple(entry for _, entry in sorted(self.files.items()))
        return publish(self.context.store, self.context.manifest(files=files))


@pytest.fixture
def drawing(context_of) -> Drawing:
    return Drawing(context_of("g", GENERATE))


class Beside:
    """`score_ahead` in a thread."""

    def __init__(self, work: Callable[[OperationContext], None], context: OperationContext) -> None:
        self.context = context
        self.ended: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self.context)
        except BaseException as error:
            self.ended = error

    def join(self) -> BaseException | None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.ended


@pytest.fixture
def beside(context_of, engine, tokenizer, worker) -> Iterator[Callable[..., Beside]]:
    begun: list[Beside] = []

    def begin(**fields) -> Beside:
        asked = task(UnpublishedSamples(GENERATE, 1), **fields)
        scorer = Scorer(engine, tokenizer)
        begun.append(
            Beside(
                lambda context: score_ahead(context, *asked, scorer, worker),
                context_of(f"w{len(begun)}", f"{SCORE}/ahead"),
            )
        )
        return begun[-1]

    yield begin
    for one in begun:
        one.context.stop("the test is over")
        one.join()


def scored_ahead(store: Store) -> list[str]:
    return [path for path in store.list(f"{SCORE}/ahead") if path.endswith(".parquet.json")]


def test_each_shard_is_scored_when_it_is_finished_and_taken_over_to_the_last_bit(
    drawing: Drawing, beside, store: Store, score, engine, context_of
):
    running = beside()
    for number, index in enumerate((1, 0), start=1):
        drawing.finish(index)
        until(lambda number=number: len(scored_ahead(store)) == number)
    assert running.ended is None
    drawing.finish(2)
    source = drawing.publish()
    assert isinstance(running.join(), Cancelled)

    found = score(task(source), context_of("w", SCORE))
    times = Counter(row.prompt_ids[-1] for call in engine.calls for row in call)
    assert {times[3 + number] for number in range(4)} == {2}
    assert times[7] in (2, 4), "the last shard may have been published before it was done"
    assert scored_ahead(store) == []

    plain = score(task(source), context_of("w", "rounds/01/score-again"))
    digests = [[(entry.group, entry.sha256) for entry in made.files] for made in (found, plain)]
    assert digests[0] == digests[1]
    assert found.counts == plain.counts
    assert found.measures == plain.measures


def test_it_publishes_nothing_and_ends_when_the_samples_are_published(drawing: Drawing, beside, store: Store):
    running = beside()
    drawing.finish(0)
    until(lambda: scored_ahead(store))
    drawing.publish()
    ended = running.join()
    assert isinstance(ended, Cancelled)
    assert "published" in str(ended)
    assert not store.exists(f"{SCORE}/ahead/manifest.json")


def test_it_stops_when_it_is_asked_to(beside):
    running = beside()
    running.context.stop("cancelled on request")
    assert str(running.join()) == "cancelled on request"


def test_another_worker_does_not_score_again_what_is_there(drawing: Drawing, beside, store: Store, engine):
    first = beside()
    drawing.finish(0)
    until(lambda: scored_ahead(store))
    first.context.stop("its process has died")
    first.join()
    computed = len(engine.calls)
    second = beside()
    until(lambda: second.context.progressed == (SHARD, 0))
    assert len(engine.calls) == computed


@pytest.mark.parametrize("changed", [{"lam": 0.25}, {"judge": "random"}, {"divergence": True}])
def test_what_was_scored_for_another_task_is_not_taken_over(
    drawing: Drawing, beside, store: Store, score, engine, context_of, changed
):
    running = beside()
    drawing.finish(0)
    until(lambda: scored_ahead(store))
    source = drawing.publish()
    running.join()
    computed = len(engine.calls)
    score(task(source, **changed), context_of("w", SCORE))
    assert len(engine.calls) > computed


def test_other_samples_are_scored_themselves(
    drawing: Drawing, beside, store: Store, score, engine, context_of, put
):
    running = beside()
    drawing.finish(0)
    until(lambda: scored_ahead(store))
    running.context.stop("the attempt at drawing has failed")
    running.join()
    computed = len(engine.calls)
    # The next attempt has drawn something else.
    others = put([sample(number, index, response_ids=[9, 9, 2]) for number in (0, 1) for index in (0, 1)])
    found = score(task(others), context_of("w", SCORE))
    assert len(engine.calls) > computed
    assert found.counts["responses"] == SHARD


def test_a_shard_that_was_altered_is_scored_again(
    drawing: Drawing, beside, store: Store, score, engine, context_of
):
    running = beside()
    drawing.finish(0)
    [side_car] = until(lambda: scored_ahead(store))
    source = drawing.publish()
    running.join()
    store.write(side_car.removesuffix(".json"), b"torn")
    computed = len(engine.calls)
    score(task(source), context_of("w", SCORE))
    assert len(engine.calls) > computed


def test_a_scorer_of_other_weights_refuses(beside):
    running = beside(policy_digest="f" * 64)
    assert isinstance(running.join(), FailedPrecondition)
