"""Of several starts of one step, one may publish: the newest of the newest attempt."""

from collections.abc import Callable
from pathlib import Path

import pytest

from selfie.artifacts.exits import Exit
from selfie.artifacts.garbage import find_garbage
from selfie.artifacts.inventory import take_inventory
from selfie.artifacts.starts import begin, count, later_attempt, superseded
from selfie.artifacts.store import Store, open_store
from selfie.errors import AlreadyExists, DataCorrupted

STEP = "rounds/01/train"
PATH = f"{STEP}/a1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/run")


def test_starts_are_numbered_in_the_order_in_which_they_begin(store: Store) -> None:
    first, second = begin(store, PATH, uid="pod-1"), begin(store, PATH, uid="pod-2")
    assert (first.number, second.number) == (1, 2)
    assert count(store, PATH) == 2
    assert store.list(f"{PATH}/starts") == [f"{PATH}/starts/00-0001.json", f"{PATH}/starts/00-0002.json"]


def test_a_pod_that_asks_again_has_the_start_that_it_has(store: Store) -> None:
    first = begin(store, PATH, uid="pod-1")
    begin(store, PATH, uid="pod-2")
    assert begin(store, PATH, uid="pod-1") == first
    assert count(store, PATH) == 2


class Raced(Store):
    """A store in which somebody else is quicker, once."""

    def __init__(self, inner: Store, before_create: Callable[[], object]) -> None:
        super().__init__(inner.uri, inner._files)
        self._before_create = before_create

    def create(self, path: str, data: bytes) -> None:
        before, self._before_create = self._before_create, lambda: None
        before()
        super().create(path, data)


def test_two_that_begin_at_once_have_different_numbers(store: Store) -> None:
    raced = Raced(store, lambda: begin(store, PATH, uid="quicker"))
    assert begin(raced, PATH, uid="slower").number == 2


def test_only_the_newest_start_may_publish(store: Store) -> None:
    first = begin(store, PATH, uid="pod-1")
    assert superseded(store, STEP, 1, first) is None
    second = begin(store, PATH, uid="pod-2")
    assert superseded(store, STEP, 1, first) is Exit.SUPERSEDED
    assert superseded(store, STEP, 1, second) is None


def test_a_later_attempt_ends_every_start_of_an_earlier_one(store: Store) -> None:
    start = begin(store, PATH, uid="pod-1")
    store.write(f"{STEP}/a3/job.json", b"{}")
    assert superseded(store, STEP, 1, start) is Exit.OUTDATED
    assert later_attempt(store, STEP, 1) == 3
    assert later_attempt(store, STEP, 3) is None


def test_attempts_are_compared_as_numbers(store: Store) -> None:
    store.write(f"{STEP}/a10/job.json", b"{}")
    assert later_attempt(store, STEP, 9) == 10
    assert later_attempt(store, STEP, 10) is None


def test_each_node_has_starts_of_its_own(store: Store) -> None:
    main, other = begin(store, PATH, uid="pod-1"), begin(store, PATH, uid="pod-2", node=1)
    again = begin(store, PATH, uid="pod-3", node=1)
    assert (main.number, other.number, again.number) == (1, 1, 2)
    assert superseded(store, STEP, 1, main) is None
    assert superseded(store, STEP, 1, other) is Exit.SUPERSEDED
    assert count(store, PATH) == 2


def test_a_torn_record_is_told_from_none(store: Store) -> None:
    begin(store, PATH, uid="pod-1")
    store.write(f"{PATH}/starts/00-0001.json", b"{")
    with pytest.raises(DataCorrupted, match="no record of a start"):
        begin(store, PATH, uid="pod-2")


def test_a_record_is_never_written_over(store: Store) -> None:
    begin(store, PATH, uid="pod-1")
    with pytest.raises(AlreadyExists):
        store.create(f"{PATH}/starts/00-0001.json", b"")


def test_starts_and_logs_are_kept_with_the_attempt_that_published(made) -> None:
    made.prepare(rounds=1)
    path = "prepare/a1"
    begin(made.store, path, uid="pod-1")
    for name in ("log.txt", "log-1.txt", "parameters.json", "leftover.bin"):
        made.store.write(f"{path}/{name}", b"{}")
    garbage = find_garbage(made.store, take_inventory(made.store), made.now)
    assert [file.path for file in garbage] == [f"{path}/leftover.bin"]
