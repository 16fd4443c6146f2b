"""Pairs of weights that calls name, beside the one that the scorer was started with.

They are loaded in a thread of their own, so that nobody who asks the others waits for it, and stay until
their memory is wanted: then those go first that nobody uses and were not used for longest. The pair that
the scorer was started with is not among them, and batch work uses that one alone.
"""

import asyncio
import gc
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from selfie.errors import InvalidInput, Overloaded, Unavailable
from selfie.scoring import metrics
from selfie.scoring.core import Scorer
from selfie.scoring.places import FIELD, PairName
from selfie.scoring.rows import Engine

RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class FoundPair:
    """Weights on this machine: the memory that they take, and what loads and verifies them."""

    bytes: int
    load: Callable[[], Scorer]


@dataclass(eq=False)
class _Place:
    """A pair, from when it is first asked for; ``users`` are the calls that hold it."""

    loading: "asyncio.Task[Scorer]"
    bytes: int = 0
    users: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether it is there, and nobody holds it."""
        return self.loading.done() and not self.users


class WeightPairs:
    """Lives in the event loop. ``find`` fetches what is not on this machine, and runs in a thread."""

    def __init__(self, find: Callable[[PairName], FoundPair], *, max_bytes: int) -> None:
        self._find = find
        self._max_bytes = max_bytes
        self._places: OrderedDict[PairName, _Place] = OrderedDict()
        self._engines: dict[str, Engine] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="weights")

    @asynccontextmanager
    async def held(self, name: PairName) -> AsyncIterator[Scorer]:
        """The scorer of a pair, which stays while it is held.

        Raises `Overloaded` where no memory can be freed for it, `InvalidInput` where it is larger than all.
        """
        place = self._places.get(name)
        metrics.PAIRS.labels("hit" if place else "load").inc()
        if place is None:
            place = _Place(asyncio.create_task(self._load(name)))
            # Its error is that of those who wait for it; they may all be gone by then.
            place.loading.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._places[name] = place
        self._places.move_to_end(name)
        place.users += 1
        try:
            # Whoever goes away does not take the weights from those who wait with them.
            yield await asyncio.shield(place.loading)
        finally:
            place.users -= 1

    def engine(self, key: str) -> Engine:
        """The engine by the key of its scorer; from any thread."""
        try:
            return self._engines[key]
        except KeyError:
            raise Unavailable("the weights were given up, as nobody waited for them") from None

    async def close(self) -> None:
        """Waits for what is being loaded."""
        await asyncio.to_thread(self._loader.shutdown)

    async def _load(self, name: PairName) -> Scorer:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._loader, self._find, name)
            self._make_room(name, found.bytes)
            scorer = await loop.run_in_executor(self._loader, found.load)
        except BaseException:
            self._drop(name)
            raise
        self._engines[scorer.key] = scorer.engine
        return scorer

    def _make_room(self, name: PairName, wanted: int) -> None:
        if wanted > self._max_bytes:
            problem = f"take {wanted >> 20} MiB, and there are {self._max_bytes >> 20} for all"
            raise InvalidInput(FIELD, problem, "start the scorer with a larger --weights-memory-mib")
        while self._bytes() + wanted > self._max_bytes:
            idle = [each for each, place in self._places.items() if place.is_idle]
            if not idle:
                raise Overloaded("all weights in memory are in use", retry_after_s=RETRY_AFTER_S)
            self._drop(idle[0])
            metrics.PAIRS.labels("evict").inc()
        self._places[name].bytes = wanted
        metrics.PAIR_BYTES.set(self._bytes())

    def _drop(self, name: PairName) -> None:
        place = self._places.pop(name)
        if place.loading.done() and not place.loading.cancelled() and place.loading.exception() is None:
            key = place.loading.result().key
            if not any(self._is(other, key) for other in self._places.values()):
                self._engines.pop(key, None)
        del place
        # Models are full of cycles, which would hold their memory until the collector comes by.
        gc.collect()
        metrics.PAIR_BYTES.set(self._bytes())

    @staticmethod
    def _is(place: _Place, key: str) -> bool:
        done = place.loading.done() and place.loading.exception() is None
        return done and place.loading.result().key == key

    def _bytes(self) -> int:
        return sum(place.bytes for place in self._places.values())


def nothing_to_find(name: PairName) -> FoundPair:
    """For a scorer that serves no other weights."""
    raise InvalidInput(FIELD, f"{name.policy!r} is not served here", "leave it out")
