"""One thread, a bounded queue for those who can be told to come back, none for those who can't."""

import threading

import pytest

from selfie.errors import Overloaded
from selfie.scoring.worker import Worker


@pytest.fixture
def worker():
    made = Worker(capacity=2)
    yield made
    made.close()


@pytest.fixture
def busy(worker: Worker):
    """Holds the worker's thread until it is set."""
    release = threading.Event()
    worker.start(release.wait, 10)
    yield release
    release.set()


def test_calls_are_refused_when_the_queue_is_full_and_taken_again_later(
    worker: Worker, busy: threading.Event
):
    waiting = [worker.submit(int, "1"), worker.submit(int, "2")]
    with pytest.raises(Overloaded) as caught:
        worker.submit(int, "3")
    assert caught.value.retry_after_s > 0
    busy.set()
    assert [future.result(10) for future in waiting] == [1, 2]
    assert worker.submit(int, "3").result(10) == 3


def test_a_call_that_its_caller_gave_up_makes_room(worker: Worker, busy: threading.Event):
    first, _ = worker.submit(int, "1"), worker.submit(int, "2")
    assert first.cancel()
    worker.submit(int, "3")


def test_a_call_that_fails_makes_room_and_tells_its_caller(worker: Worker):
    for _ in range(3):
        with pytest.raises(ValueError, match="nonsense"):
            worker.submit(int, "nonsense").result(10)


def test_batch_work_is_never_refused(worker: Worker, busy: threading.Event):
    started = [worker.start(int, str(number)) for number in range(10)]
    busy.set()
    assert [future.result(10) for future in started] == list(range(10))


def test_all_calls_run_in_one_thread(worker: Worker):
    threads = {worker.start(threading.get_ident).result(10) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
