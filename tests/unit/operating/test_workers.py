"""Workers: what becomes of a look, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from selfie.errors import Unavailable
from selfie_operator.keys import Key
from selfie_operator.queues import WorkQueue
from selfie_operator.workers import Workers
from virtual_time import virtually

KEYS = [Key("team", name) for name in "abcd"]
Look = Callable[[Key], Awaitable[float | None]]


def working(look: Look, *, count: int = 2, keys: list[Key] = KEYS, within_s: float = 60):
    queue = WorkQueue()
    queue.add_all(keys)
    workers = Workers(queue, look, count=count, within_s=within_s)
    return workers, asyncio.create_task(workers.run())


def test_no_two_workers_look_at_one_run_and_no_more_than_there_are_work_at_once():
    async def test():
        busy: list[Key] = []
        most = 0

        async def look(key: Key) -> float | None:
            nonlocal most
            assert key not in busy
            busy.append(key)
            most = max(most, len(busy))
            await asyncio.sleep(1)
            busy.remove(key)
            return 0.1

        workers, task = working(look, count=3)
        await asyncio.sleep(30)
        await workers.stop(5)
        await task
        assert most == 3

    virtually(test)


@pytest.mark.parametrize("error", [Unavailable("no answer"), KeyError("a mistake of ours")])
def test_a_look_that_fails_is_repeated_and_stops_nobody(error: Exception):
    async def test():
        looks: list[Key] = []

        async def look(key: Key) -> float | None:
            looks.append(key)
            if key == KEYS[0] and looks.count(key) < 3:
                raise error
            return None

        workers, task = working(look, count=1)
        await asyncio.sleep(60)
        await workers.stop(1)
        await task
        assert {key: looks.count(key) for key in KEYS} == {KEYS[0]: 3, **dict.fromkeys(KEYS[1:], 1)}

    virtually(test)


def test_a_look_that_hangs_is_broken_off_and_tried_again():
    async def test():
        looks = 0

        async def look(key: Key) -> float | None:
            nonlocal looks
            looks += 1
            if looks == 1:
                await asyncio.sleep(10_000)
            return None

        workers, task = working(look, keys=KEYS[:1], within_s=30)
        await asyncio.sleep(40)
        assert looks == 2
        await workers.stop(1)
        await task

    virtually(test)


def test_looks_in_progress_finish_before_the_end_and_no_other_begins():
    async def test():
        begun, finished = [], []

        async def look(key: Key) -> float | None:
            begun.append(key)
            await asyncio.sleep(3)
            finished.append(key)
            return None

        workers, task = working(look, count=2)
        await asyncio.sleep(1)
        await workers.stop(10)
        await task
        assert begun == finished == KEYS[:2]

    virtually(test)


def test_looks_that_do_not_end_in_time_are_broken_off():
    async def test():
        loop = asyncio.get_running_loop()

        async def look(key: Key) -> float | None:
            await asyncio.sleep(50)
            return None

        workers, task = working(look)
        await asyncio.sleep(1)
        began = loop.time()
        await workers.stop(10)
        await task
        assert loop.time() - began == 10

    virtually(test)


def test_looks_that_wait_for_nothing_leave_everybody_else_their_turn():
    async def test():
        looks, longest = 0, 0

        async def look(key: Key) -> float | None:
            nonlocal looks
            looks += 1
            return None

        keys = [Key("team", str(number)) for number in range(1000)]
        workers, task = working(look, count=2, keys=keys)
        while looks < len(keys):
            before = looks
            await asyncio.sleep(0)
            longest = max(longest, looks - before)
        assert longest <= 4
        await workers.stop(1)
        await task

    virtually(test)
