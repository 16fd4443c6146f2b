"""A run on this machine lets checkpoints go as it goes on, and never fails for it."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from structlog.testing import capture_logs

from selfie.artifacts.inventory import take_inventory
from selfie.artifacts.run_files import read_run
from selfie.artifacts.store import Store
from selfie.artifacts.summaries import summary
from selfie.dispatch.retention import Retention
from selfie.errors import Unavailable
from selfie.local.places import LocalRun, forget, weights_cache
from selfie.runs.conditions import Condition
from selfie.runs.observed import Observed, StoreObserved
from selfie.runs.status import BestRound, RunStatus

ENDED = RunStatus(
    conditions=(
        Condition(
            type="Complete",
            status="True",
            reason="Completed",
            last_transition_time=datetime(2026, 3, 1, tzinfo=UTC),
        ),
    )
)
WEIGHTS = {
    n: f"rounds/{n:02d}/{'train' if n else 'seed'}/a1/checkpoint-w/model.safetensors" for n in range(4)
}


def observed(made, *, without=()):
    published = take_inventory(made.store).published
    return Observed(
        manifests={
            step: summary(found, ref.sha256)
            for step, (found, ref) in published.items()
            if step not in without
        }
    )


def rounds_left(made):
    return [number for number, path in WEIGHTS.items() if made.store.exists(path)]


def retention_of(local):
    return Retention(local.store, partial(forget, weights_cache(local.scratch)))


@pytest.fixture
def local(made, tmp_path):
    """Three rounds after the seed, of which round 1 is the best; one checkpoint is kept beside it."""
    made.whole(0.5, 0.8, 0.7, 0.7)
    made.write_run(rounds=3, checkpoints=1)
    return LocalRun(read_run(made.store), "uid", made.store, tmp_path / "scratch")


async def test_the_best_and_the_newest_stay(made, local):
    await retention_of(local).look(local.run.spec, ENDED, observed(made))
    assert rounds_left(made) == [1, 3]


async def test_the_round_that_the_status_calls_the_best_stays_too(made, local):
    best = BestRound(round=0, step="rounds/00/publish", digest="d", accuracy=0.5)
    await retention_of(local).look(local.run.spec, ENDED.model_copy(update={"best": best}), observed(made))
    assert rounds_left(made) == [0, 1, 3]


async def test_links_in_the_cache_go_with_the_weights_and_no_others(made, local):
    cache = weights_cache(local.scratch)
    digests = [made.digest(f"rounds/{number:02d}/publish") for number in range(4)]
    for digest in (*digests, made.digest("prepare", "model")):
        (cache / digest).mkdir(parents=True)
        (cache / digest / "model.safetensors").write_bytes(b"weights")
    await retention_of(local).look(local.run.spec, ENDED, observed(made))
    kept = {digests[1], digests[3], made.digest("prepare", "model")}
    assert {path.name for path in cache.iterdir()} == kept


async def test_what_a_killed_run_has_left_behind_the_next_one_removes(made, local):
    await retention_of(local).look(local.run.spec, ENDED, observed(made))
    made.store.write(WEIGHTS[0], b"not deleted before the end")
    await retention_of(local).look(local.run.spec, ENDED, observed(made))
    assert rounds_left(made) == [1, 3]


async def test_it_looks_only_when_a_step_was_published(made, local):
    retention = retention_of(local)
    await retention.look(local.run.spec, ENDED, observed(made, without=["rounds/03/publish"]))
    assert rounds_left(made) == [1, 2, 3]
    made.store.write("prepare/manifest.json", b"{")  # whoever looks, fails
    with capture_logs() as logs:
        await retention.look(local.run.spec, ENDED, observed(made, without=["rounds/03/publish", "prepare"]))
        assert logs == []


async def test_of_a_store_that_cannot_be_used_nothing_is_concluded(made, local):
    await retention_of(local).look(local.run.spec, ENDED, Observed(store=StoreObserved(ready=False)))
    assert rounds_left(made) == [0, 1, 2, 3]


class Failing(Store):
    fails = True

    def sizes(self, prefix: str) -> dict[str, int]:
        if self.fails:
            raise Unavailable("the store is gone")
        return super().sizes(prefix)


async def test_a_failure_is_told_and_tried_again_with_the_next_step(made, local):
    failing = Failing(made.store.uri, made.store._files)
    retention = retention_of(replace(local, store=failing))
    with capture_logs() as logs:
        await retention.look(local.run.spec, ENDED, observed(made, without=["rounds/03/evaluate-heldout"]))
    [entry] = logs
    assert (entry["log_level"], entry["error"]) == ("warning", "the store is gone")
    assert rounds_left(made) == [0, 1, 2, 3]
    failing.fails = False
    await retention.look(local.run.spec, ENDED, observed(made))
    assert rounds_left(made) == [1, 3]


def test_weights_that_are_not_in_the_cache_are_forgotten_already(tmp_path):
    forget(tmp_path, ["a" * 64])
    assert list(tmp_path.iterdir()) == []
