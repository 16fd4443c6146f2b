"""Pairs of weights in memory: loaded once, given up when their memory is wanted, never while in use."""

import asyncio
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from selfie.errors import InvalidInput, Overloaded, Unavailable
from selfie.models.chat import ChatTokenizer
from selfie.scoring.core import Scorer
from selfie.scoring.pairs import FoundPair, WeightPairs
from selfie.scoring.places import PairName


class Loads:
    """Finds pairs of ten bytes, whose scorers have their name for a key; ``go_on`` holds loading up."""

    def __init__(self, engine, tokenizer: ChatTokenizer) -> None:
        self.made: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self._parts = engine, tokenizer

    def find(self, name: PairName) -> FoundPair:
        def load() -> Scorer:
            assert self.go_on.wait(10)
            self.made.append(name.policy)
            if name.policy == "bad":
                raise InvalidInput("weights", "are bad", "mend them")
            return Scorer(*self._parts, key=name.policy)

        return FoundPair(1000 if name.policy == "large" else 10, load)


@pytest.fixture
def loads(engine, tiny_checkpoint: Path) -> Loads:
    return Loads(engine, ChatTokenizer(tiny_checkpoint))


@pytest.fixture
def pairs(loads: Loads) -> WeightPairs:
    return WeightPairs(loads.find, max_bytes=25)


def pair(name: str) -> PairName:
    return PairName(name, "reference")


async def use(pairs: WeightPairs, *names: str) -> None:
    for name in names:
        async with pairs.held(pair(name)) as scorer:
            assert pairs.engine(scorer.key) is scorer.engine


async def test_a_pair_is_loaded_once_however_many_ask_for_it(pairs: WeightPairs, loads: Loads):
    loads.go_on.clear()
    asking = [asyncio.create_task(use(pairs, "a")) for _ in range(5)]
    await asyncio.sleep(0.01)
    loads.go_on.set()
    await asyncio.gather(*asking)
    await use(pairs, "a")
    assert loads.made == ["a"]


async def test_the_pair_that_was_not_used_for_longest_is_given_up_first(pairs: WeightPairs, loads: Loads):
    await use(pairs, "a", "b", "a", "c", "a")
    assert loads.made == ["a", "b", "c"]
    with pytest.raises(Unavailable):
        pairs.engine("b")
    await use(pairs, "b")
    assert loads.made == ["a", "b", "c", "b"]


async def test_a_pair_in_use_is_never_given_up(pairs: WeightPairs, loads: Loads):
    async with AsyncExitStack() as held:
        for name in ("a", "b"):
            await held.enter_async_context(pairs.held(pair(name)))
        with pytest.raises(Overloaded):
            await use(pairs, "c")
        assert pairs.engine("a") is not None
    await use(pairs, "c")
    assert loads.made == ["a", "b", "c"]


async def test_a_pair_larger_than_all_memory_is_refused_and_takes_no_others_place(
    pairs: WeightPairs, loads: Loads
):
    await use(pairs, "a")
    with pytest.raises(InvalidInput, match="weights-memory-mib"):
        await use(pairs, "large")
    await use(pairs, "a")
    assert loads.made == ["a"]


async def test_what_could_not_be_loaded_is_tried_again(pairs: WeightPairs, loads: Loads):
    for _ in range(2):
        with pytest.raises(InvalidInput, match="bad"):
            await use(pairs, "bad")
    assert loads.made == ["bad", "bad"]
    await use(pairs, "a", "b")


async def test_who_gives_up_takes_nothing_from_those_who_wait_too(pairs: WeightPairs, loads: Loads):
    loads.go_on.clear()
    one, other = (asyncio.create_task(use(pairs, "a")) for _ in range(2))
    await asyncio.sleep(0.01)
    one.cancel()
    await asyncio.sleep(0.01)
    loads.go_on.set()
    await other
    assert loads.made == ["a"]
