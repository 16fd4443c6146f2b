"""The token bucket."""

import asyncio

from selfie.kube.limits import RateLimit
from virtual_time import virtually


def test_a_burst_passes_at_once_and_the_rest_at_the_rate():
    async def test() -> list[float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        limit = RateLimit(2, 3, clock=loop.time)
        times = []

        async def ask() -> None:
            await limit.take()
            times.append(round(loop.time() - began, 6))

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(ask())
        return times

    assert virtually(test) == [0, 0, 0, 0.5, 1.0, 1.5]


def test_a_pause_fills_the_bucket_no_higher_than_the_burst():
    async def test() -> float:
        loop = asyncio.get_running_loop()
        limit = RateLimit(2, 3, clock=loop.time)
        await asyncio.sleep(1000)
        began = loop.time()
        for _ in range(4):
            await limit.take()
        return loop.time() - began

    assert virtually(test) == 0.5
