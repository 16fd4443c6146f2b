"""The work queue: one look at a time, first come first served, later and later after failures."""

import asyncio

import pytest

from selfie.errors import InvalidInput, Overloaded, Unavailable
from selfie_operator.backoffs import Backoff
from selfie_operator.keys import Key
from selfie_operator.queues import Backoffs, WorkQueue
from virtual_time import virtually

A, B, C = (Key("team", name) for name in "abc")
BROKEN = InvalidInput("spec", "wrong", "mend it")


def queue() -> WorkQueue:
    """Without chance in its waits."""
    return WorkQueue(Backoffs(Backoff(1, 30, lambda: 0.0), Backoff(1, 300, lambda: 0.0)))


async def seconds_until(work: WorkQueue, key: Key) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await work.next() == key
    return round(loop.time() - began, 3)


def test_keys_come_in_the_order_in_which_they_were_added():
    async def test():
        work = queue()
        for key in (B, A, C):
            work.add(key)
        assert [await work.next() for _ in range(3)] == [B, A, C]

    virtually(test)


def test_a_key_that_waits_is_not_added_twice():
    async def test():
        work = queue()
        for key in (A, A, B, A):
            work.add(key)
        assert work.depth == 2

    virtually(test)


def test_a_key_in_work_is_given_to_nobody_else():
    async def test():
        work = queue()
        work.add(A)
        assert await work.next() == A
        work.add(A)
        assert work.depth == 0

    virtually(test)


def test_what_is_told_during_the_work_makes_one_more_look_behind_the_others():
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        for key in (A, B, A):
            work.add(key)
        work.done(A, again_s=None)
        assert [await work.next(), await work.next()] == [B, A]
        work.done(A, again_s=None)
        assert work.depth == 0

    virtually(test)


def test_a_success_may_ask_for_another_look_later():
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        work.done(A, again_s=90)
        assert await seconds_until(work, A) == 90

    virtually(test)


def test_a_hint_comes_before_the_later_look_and_takes_its_place():
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        work.done(A, again_s=90)
        work.add(A)
        assert await seconds_until(work, A) == 0
        work.done(A, again_s=None)
        await asyncio.sleep(1000)
        assert work.depth == 0

    virtually(test)


def test_failures_double_the_wait_up_to_five_minutes_and_a_success_forgets_them():
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        waits = []
        for _ in range(11):
            work.failed(A, BROKEN)
            waits.append(await seconds_until(work, A))
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 240, 240, 240]
        work.done(A, again_s=0)
        await work.next()
        work.failed(A, BROKEN)
        assert await seconds_until(work, A) == 1

    virtually(test)


def test_what_passes_by_itself_is_tried_again_within_half_a_minute():
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        for _ in range(12):
            work.failed(A, Unavailable("no answer"))
            assert await seconds_until(work, A) <= 30

    virtually(test)


def test_the_time_that_a_server_asks_for_is_waited():
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        work.failed(A, Overloaded("full", retry_after_s=45))
        assert await seconds_until(work, A) == 45

    virtually(test)


@pytest.mark.parametrize(("urgent", "waited"), [(False, 1), (True, 0)])
def test_only_an_urgent_hint_shortens_the_wait_after_a_failure(urgent: bool, waited: float):
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        work.failed(A, BROKEN)
        work.add(A, urgent=urgent)
        assert await seconds_until(work, A) == waited

    virtually(test)


@pytest.mark.parametrize(("urgent", "waited"), [(False, 1), (True, 0)])
def test_only_an_urgent_hint_during_a_look_that_fails_makes_it_look_at_once(urgent: bool, waited: float):
    async def test():
        work = queue()
        work.add(A)
        await work.next()
        work.add(A, urgent=urgent)
        work.add(A)
        work.failed(A, BROKEN)
        assert await seconds_until(work, A) == waited

    virtually(test)


def test_one_failing_key_does_not_hold_up_another():
    async def test():
        work = queue()
        for key in (A, B):
            work.add(key)
        await work.next()
        work.failed(A, BROKEN)
        assert await seconds_until(work, B) == 0

    virtually(test)


def test_the_age_of_the_oldest_is_that_of_the_first():
    async def test():
        work = queue()
        work.add(A)
        await asyncio.sleep(5)
        work.add(B)
        await asyncio.sleep(2)
        assert work.oldest_s == 7
        await work.next()
        assert work.oldest_s == 2

    virtually(test)


def test_a_long_queue_that_moves_is_not_stuck():
    async def test():
        work = queue()
        keys = [Key("team", str(number)) for number in range(50)]
        work.add_all(keys)
        for key in keys[:-1]:
            await asyncio.sleep(10)
            assert work.stuck_s <= 10
            assert await work.next() == key
            work.done(key, again_s=None)
        await asyncio.sleep(100)
        assert work.stuck_s == 100
        await work.next()
        assert work.stuck_s == 0

    virtually(test)


def test_a_closed_queue_hands_out_nothing_and_wakes_who_waits():
    async def test():
        work = queue()
        waiting = asyncio.create_task(work.next())
        await asyncio.sleep(0)
        work.add(A)
        work.close()
        assert await waiting is None
        work.done(B, again_s=1)
        assert await work.next() is None

    virtually(test)


def test_waits_are_stretched_by_chance_within_a_quarter_and_the_bound():
    high = Backoff(1, 300, lambda: 1.0)
    assert high.seconds(1) == 1.25
    assert high.seconds(50) == 300
    assert high.seconds(10_000) == 300
