"""Each run is sampled for by its own engine, over a channel that is there while it is needed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from selfie.errors import FailedPrecondition
from selfie.generation.engines import EngineIdentity
from selfie.generation.engines_of_runs import EnginesOfRuns, NoFixedEngine, Opened, address_for
from selfie.runs.names import engine_name


class NamedEngine:
    """An engine whose identity is its name; it answers once it may."""

    def __init__(self, name: str, may_answer: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._may_answer = may_answer

    async def identity(self) -> EngineIdentity:
        await self._may_answer()
        return EngineIdentity(self._name, "", 0, "float32", "toy")

    async def sample(self, *_: object, **__: object) -> list[list[object]]:
        return []


class World:
    """Engines that can be held up, and what was opened and closed of them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.engines = EnginesOfRuns(self.open, idle_s=60, clock=lambda: self.seconds)

    def open(self, run_uid: str) -> Opened:
        self.opened.append(run_uid)

        async def close() -> None:
            self.closed.append(run_uid)

        return Opened(NamedEngine(run_uid, self.may_answer.wait), close)

    async def who(self, run_uid: str) -> str:
        return (await self.engines.of(run_uid).identity()).weights_digest


@pytest.fixture
async def world() -> World:
    return World()


def test_the_address_follows_from_the_runs_uid() -> None:
    assert address_for("dns:///selfie-engine-{run}:50051", "uid") == f"dns:///{engine_name('uid')}:50051"
    assert address_for("127.0.0.1:7001", "uid") == "127.0.0.1:7001"


async def test_each_run_is_answered_by_its_own_engine_over_one_channel(world: World) -> None:
    answers = [await world.who(uid) for uid in ("a", "b", "a")]
    assert answers == ["a", "b", "a"]
    assert world.opened == ["a", "b"]


async def test_a_channel_that_nobody_has_used_for_long_is_closed_and_opened_again(world: World) -> None:
    await world.who("a")
    world.seconds = 61
    await world.who("b")
    assert world.closed == ["a"]
    assert await world.who("a") == "a"
    assert world.opened == ["a", "b", "a"]


async def test_a_channel_in_use_stays_open_however_long_the_call_takes(world: World) -> None:
    world.may_answer.clear()
    asked = asyncio.create_task(world.who("a"))
    await asyncio.sleep(0)
    world.seconds = 3600
    await world.engines.of("b").sample((), None, weights_digest="")
    assert world.closed == []
    world.may_answer.set()
    assert await asked == "a"


async def test_closing_closes_every_channel(world: World) -> None:
    await world.who("a")
    await world.who("b")
    await world.engines.close()
    assert sorted(world.closed) == ["a", "b"]


async def test_a_call_for_no_run_is_told_where_to_go() -> None:
    with pytest.raises(FailedPrecondition, match="one --engine-address"):
        await NoFixedEngine().identity()
