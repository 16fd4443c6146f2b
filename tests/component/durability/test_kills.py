"""kill -9 of anything at any moment: the same command again ends where the undisturbed run does.

A tiny random model, real services and a real trainer, forked from one nursery. By default a sample of
what `make kill-test` does in full: SELFIE_KILLS is the number of random moments.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from killing import TinyRun, environment_number, made_by, moments, shards_written_twice, write_run
from selfie.local.nurseries import own_nursery
from selfie.processes.spawning import Nursery
from selfie.runs.steps import step_at

KILLS = environment_number("SELFIE_KILLS", 4)
IN_FULL = KILLS >= 100
KILLS_A_RUN = 10
NAMES = ("runner", "engine", "generation", "scoring", "filtering", "training", "trainer")

in_full = pytest.mark.skipif(not IN_FULL, reason="takes minutes; make kill-test runs it")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with TemporaryDirectory(prefix="selfie-") as directory:
        found = own_nursery(Path(directory))
        found.warm_up()
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), tiny_checkpoint)


@pytest.fixture(scope="module")
def undisturbed(file: Path, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What the run makes when nobody disturbs it."""
    run = TinyRun(file, tmp_path_factory.mktemp("undisturbed"), nursery)
    try:
        run.finish()
    finally:
        run.close()
    assert run.starts == 1
    return made_by(run.store)


@pytest.fixture
def run(file: Path, nursery: Nursery, tmp_path: Path) -> Iterator[TinyRun]:
    found = TinyRun(file, tmp_path / "runs", nursery)
    yield found
    found.close()


@pytest.fixture
def ends_as_undisturbed(undisturbed: Mapping[str, Any]) -> Callable[[TinyRun], None]:
    def check(run: TinyRun) -> None:
        run.finish()
        found = made_by(run.store)
        for step, facts in undisturbed.items():
            assert found[step] == facts, f"{step} differs after {run.kills}"
        assert shards_written_twice(run.root) == []
        assert run.kills

    return check


@in_full
def test_an_undisturbed_run_made_twice_is_the_same_to_the_last_bit(run: TinyRun, undisturbed):
    run.finish()
    assert made_by(run.store) == undisturbed


def test_killing_everything_at_every_stage_boundary_changes_nothing(run: TinyRun, ends_as_undisturbed):
    seen: set[str] = set()
    while not run.has_ended:
        known = frozenset(seen)
        run.until(lambda known=known: bool(run.published() - known) or run.has_ended)
        seen |= run.published()
        run.kill()
    ends_as_undisturbed(run)
    assert run.starts > 10


@in_full
@pytest.mark.parametrize("name", NAMES)
def test_killing_one_process_inside_every_stage_changes_nothing(run: TinyRun, ends_as_undisturbed, name: str):
    struck: set[str] = set()

    def is_inside_another_stage() -> bool:
        stages = {step.stage for path in run.under_way() if (step := step_at(path))}
        return bool(stages - struck) and name in run.processes()

    while not run.has_ended:
        run.until(lambda: is_inside_another_stage() or run.has_ended)
        struck |= {step.stage for path in run.under_way() if (step := step_at(path))}
        run.kill(name)
    ends_as_undisturbed(run)


@pytest.mark.parametrize("seed", range(max(KILLS // KILLS_A_RUN, 1)))
def test_killing_at_random_moments_twice_in_a_row_changes_nothing(
    run: TinyRun, ends_as_undisturbed, seed: int
):
    chance = random.Random(seed)
    for pause in moments(seed, mean_s=2.0):
        if run.has_ended or len(run.kills) >= 2 * min(KILLS, KILLS_A_RUN):
            break
        began = time.monotonic()
        run.until(lambda began=began, pause=pause: time.monotonic() - began > pause or run.has_ended)
        for _ in range(2):
            alive = sorted(run.processes())
            run.kill(*(() if chance.random() < 0.3 or not alive else (chance.choice(alive),)))
            time.sleep(chance.random() / 5)
    ends_as_undisturbed(run)
