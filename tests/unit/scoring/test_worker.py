"""One thread: online turns first, batch work when it can, and neither starves the other."""

import threading
from collections.abc import Callable, Iterator

import pytest

from selfie.scoring.worker import Worker


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(clock: Clock) -> Iterator[Worker]:
    made = Worker(patience_s=10, shared_for_s=30, clock=clock)
    yield made
    made.close()


@pytest.fixture
def busy(worker: Worker) -> Iterator[threading.Event]:
    """Holds the worker's thread until it is set."""
    reached, release = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        release.wait(10)

    worker.start(hold)
    reached.wait(10)
    yield release
    release.set()


class Order:
    """Notes what ran, in its order."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self._changed = threading.Condition()

    def note(self, name: str) -> Callable[[], None]:
        def run() -> None:
            with self._changed:
                self.ran.append(name)
                self._changed.notify_all()

        return run

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ran) >= count, 10)
        return self.ran


def test_an_online_turn_goes_before_batch_work_that_came_earlier(worker: Worker, busy: threading.Event):
    order = Order()
    for name in ("batch 1", "batch 2"):
        worker.start(order.note(name))
    worker.urge(order.note("online"))
    busy.set()
    assert order.wait_for(3) == ["online", "batch 1", "batch 2"]


def test_batch_work_has_a_turn_after_a_while_however_many_wait_online(
    worker: Worker, busy: threading.Event, clock: Clock
):
    order = Order()
    worker.start(order.note("batch 1"))
    worker.start(order.note("batch 2"))
    for name in ("online 1", "online 2"):
        worker.urge(order.note(name))
    clock.now += 11
    busy.set()
    assert order.wait_for(4) == ["batch 1", "online 1", "online 2", "batch 2"]


def test_online_calls_are_to_be_expected_for_a_while_after_one(worker: Worker, clock: Clock):
    assert not worker.is_shared
    worker.urge(lambda: None)
    assert worker.is_shared
    clock.now += 31
    assert not worker.is_shared


def test_a_call_that_fails_tells_its_caller_and_no_other(worker: Worker):
    with pytest.raises(ValueError, match="nonsense"):
        worker.start(int, "nonsense").result(10)
    assert worker.start(int, "7").result(10) == 7


def test_work_that_was_given_up_is_not_done(worker: Worker, busy: threading.Event):
    order = Order()
    given_up = worker.start(order.note("given up"))
    assert given_up.cancel()
    worker.start(order.note("wanted"))
    busy.set()
    assert order.wait_for(1) == ["wanted"]


def test_all_calls_run_in_one_thread(worker: Worker):
    threads = {worker.start(threading.get_ident).result(10) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_waits_when_it_closes_is_cancelled_and_so_is_what_comes_later(
    worker: Worker, busy: threading.Event
):
    waiting = worker.start(int, "1")
    closing = threading.Thread(target=worker.close)
    closing.start()
    while not waiting.cancelled():
        threading.Event().wait(0.01)
    busy.set()
    closing.join(10)
    assert worker.start(int, "2").cancelled()
