"""The one address of a local run."""

import asyncio
import json
import urllib.request

import pytest

from selfie.errors import InvalidInput
from selfie.monitoring.boards import RunBoard
from selfie.monitoring.serving import COMPONENT, Page, served
from selfie.monitoring.sights import RunName


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def test_one_port_tells_of_the_run_and_of_where_its_processes_are(status_of):
    board = RunBoard()
    board.tell(RunName("local", "toy"), status_of())
    addresses = {"engine": "127.0.0.1:5"}
    with served(board, lambda: addresses, 0) as page:
        port = page.port
        assert 'selfie_run_info{namespace="local"' in read(port, "/metrics")
        assert json.loads(read(port, "/targets")) == [
            {"targets": ["127.0.0.1:5"], "labels": {COMPONENT: "engine"}},
            {"targets": [f"127.0.0.1:{port}"], "labels": {COMPONENT: "run"}},
        ]
        addresses.clear()
        assert len(json.loads(read(port, "/targets"))) == 1


def test_a_port_that_is_taken_is_told_with_the_way_out():
    with (
        served(RunBoard(), dict, 0) as page,
        pytest.raises(InvalidInput, match="--metrics-port"),
        served(RunBoard(), dict, page.port),
    ):
        pass


async def test_an_ended_run_waits_until_its_last_figures_are_read():
    clock = Clock()
    page = Page(clock)
    page.is_read()
    clock.time = 1.0
    waiting = asyncio.create_task(page.read_once_more(asyncio.Event()))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    clock.time = 2.0
    page.is_read()
    await asyncio.wait_for(waiting, 10)


async def test_it_waits_for_nobody_who_has_never_read_and_not_against_its_users_will():
    stopped = asyncio.Event()
    await asyncio.wait_for(Page().read_once_more(stopped), 10)
    clock = Clock()
    page = Page(clock)
    page.is_read()
    clock.time = 1.0
    stopped.set()
    await asyncio.wait_for(page.read_once_more(stopped), 10)
