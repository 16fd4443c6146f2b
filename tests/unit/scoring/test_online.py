"""The queue in front of the engine: together, in time, or told when to come back."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from selfie.errors import FailedPrecondition, Overloaded, Unavailable
from selfie.scoring.online import OnlineQueue
from selfie.scoring.rows import Row, RowScore, Wanted
from selfie.scoring.worker import Worker

PLAIN = Wanted()


class HeldScore:
    """Scores by the first id; each call takes ``takes_s`` of its clock, and waits until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[Row]] = []
        self.now, self.takes_s = 100.0, 1.0
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.broken = Row((), ())

    def __call__(self, rows: Sequence[Row], wanted: Wanted) -> list[RowScore]:
        self.calls.append(list(rows))
        self.reached.set()
        self.go_on.wait(10)
        self.now += self.takes_s
        if self.broken in rows:
            raise FailedPrecondition("NonFiniteScores", "not a number")
        return [RowScore(np.array([float(row.response_ids[0])]), np.array([0.0])) for row in rows]

    def clock(self) -> float:
        return self.now


@pytest.fixture
def score() -> HeldScore:
    return HeldScore()


@pytest.fixture
def queue(score: HeldScore) -> Iterator[OnlineQueue]:
    worker = Worker()
    yield OnlineQueue(worker, score, token_budget=20, max_waiting_tokens=100, clock=score.clock)
    score.go_on.set()
    worker.close()


def row(first: int, tokens: int = 5) -> Row:
    return Row((0,) * tokens, (first,) * tokens)


def hold(queue: OnlineQueue, score: HeldScore) -> None:
    """Leaves one call of ten tokens running."""
    score.go_on.clear()
    score.reached.clear()
    queue.add([row(1000)], PLAIN)
    score.reached.wait(10)


def found(answer) -> list[float]:
    return [score.policy_logprob for score in answer.result(10).values()]


def test_calls_that_wait_together_are_computed_together(queue: OnlineQueue, score: HeldScore):
    hold(queue, score)
    answers = [queue.add([row(1)], PLAIN), queue.add([row(2)], PLAIN)]
    score.go_on.set()
    assert [found(answer) for answer in answers] == [[1.0], [2.0]]
    assert score.calls[1:] == [[row(1), row(2)]]


def test_a_long_call_gives_way_to_those_behind_it(queue: OnlineQueue, score: HeldScore):
    hold(queue, score)
    long = queue.add([row(number, 9) for number in range(1, 4)], PLAIN)
    short = queue.add([row(7)], PLAIN)
    score.go_on.set()
    assert found(long) == [1.0, 2.0, 3.0]
    assert found(short) == [7.0]
    assert [[each.response_ids[0] for each in call] for call in score.calls[1:]] == [[1], [7], [2], [3]]


def test_what_nobody_waits_for_any_more_is_not_computed(queue: OnlineQueue, score: HeldScore):
    hold(queue, score)
    given_up, wanted = queue.add([row(1)], PLAIN), queue.add([row(2)], PLAIN)
    assert given_up.cancel()
    score.go_on.set()
    assert found(wanted) == [2.0]
    assert score.calls[1:] == [[row(2)]]


def test_what_is_past_its_deadline_is_not_computed(queue: OnlineQueue, score: HeldScore):
    hold(queue, score)
    late = queue.add([row(1)], PLAIN, deadline=score.now + 0.5)
    in_time = queue.add([row(2)], PLAIN, deadline=score.now + 50)
    score.go_on.set()
    assert found(in_time) == [2.0]
    assert score.calls[1:] == [[row(2)]]
    with pytest.raises(Unavailable, match="time was over"):
        late.result(10)


def test_a_full_queue_refuses_and_says_when_to_come_back(queue: OnlineQueue, score: HeldScore):
    hold(queue, score)
    for number in range(9):
        queue.add([row(number)], PLAIN)
    with pytest.raises(Overloaded) as caught:
        queue.add([row(9)], PLAIN)
    assert caught.value.retry_after_s > 0


def test_calls_that_were_given_up_take_no_place_from_others(queue: OnlineQueue, score: HeldScore):
    hold(queue, score)
    for number in range(9):
        queue.add([row(number)], PLAIN).cancel()
    wanted = queue.add([row(10)], PLAIN)
    score.go_on.set()
    assert found(wanted) == [10.0]


def test_a_call_that_is_given_up_while_it_is_computed_disturbs_nothing(queue: OnlineQueue, score: HeldScore):
    score.go_on.clear()
    given_up = queue.add([row(number, 9) for number in range(1, 4)], PLAIN)
    score.reached.wait(10)
    given_up.cancel()
    wanted = queue.add([row(7)], PLAIN)
    score.go_on.set()
    assert found(wanted) == [7.0]
    assert [[each.response_ids[0] for each in call] for call in score.calls] == [[1], [7]]


def test_a_call_larger_than_the_queue_is_taken_where_nothing_waits(queue: OnlineQueue):
    assert found(queue.add([row(3, 80)], PLAIN)) == [3.0]


def test_a_call_that_cannot_be_answered_by_its_deadline_is_refused_at_once(
    queue: OnlineQueue, score: HeldScore
):
    assert found(queue.add([row(1)], PLAIN)) == [1.0]
    hold(queue, score)
    queue.add([row(2)], PLAIN)
    # Ten tokens take a second: there are two calls before this one.
    with pytest.raises(Overloaded, match="longer than the call's deadline") as caught:
        queue.add([row(3)], PLAIN, deadline=score.now + 2)
    assert caught.value.retry_after_s == pytest.approx(2, rel=0.2)
    queue.add([row(3)], PLAIN, deadline=score.now + 20)


def test_a_call_is_refused_that_would_be_late_only_for_those_who_share_its_turn(
    queue: OnlineQueue, score: HeldScore
):
    assert found(queue.add([row(1)], PLAIN)) == [1.0]
    hold(queue, score)
    queue.add([row(2)], PLAIN)
    # Two seconds until its turn, which takes two where as many come after it as wait before it.
    with pytest.raises(Overloaded):
        queue.add([row(3)], PLAIN, deadline=score.now + 3.5)
    queue.add([row(3)], PLAIN, deadline=score.now + 4.5)


def test_a_call_that_comes_too_late_whatever_it_asks_is_refused_unseen(queue: OnlineQueue, score: HeldScore):
    queue.check(deadline=score.now)
    assert found(queue.add([row(1)], PLAIN)) == [1.0]
    hold(queue, score)
    queue.add([row(2)], PLAIN)
    with pytest.raises(Overloaded):
        queue.check(deadline=score.now + 1)
    queue.check(deadline=score.now + 20)
    queue.check()


def test_how_long_small_calls_take_says_nothing_of_a_long_queue(queue: OnlineQueue, score: HeldScore):
    assert found(queue.add([row(1, 2)], PLAIN)) == [1.0]
    hold(queue, score)
    # Four tokens took a second; at that pace these twenty would take five.
    answer = queue.add([row(2)], PLAIN, deadline=score.now + 4)
    score.go_on.set()
    assert found(answer) == [2.0]


def test_a_call_is_attempted_where_nothing_waits_whatever_its_deadline(queue: OnlineQueue):
    assert found(queue.add([row(1)], PLAIN)) == [1.0]
    assert found(queue.add([row(2)], PLAIN, deadline=100.0 + 1.5)) == [2.0]


def test_a_call_that_fails_takes_none_with_it(queue: OnlineQueue, score: HeldScore):
    hold(queue, score)
    score.broken = row(2)
    sound, broken = queue.add([row(1)], PLAIN), queue.add([row(2)], PLAIN)
    score.go_on.set()
    assert found(sound) == [1.0]
    with pytest.raises(FailedPrecondition):
        broken.result(10)
    assert found(queue.add([row(4)], PLAIN)) == [4.0]
