"""The servers of a fleet together, as toys, with a clock of their own."""

import asyncio
from collections.abc import Sequence

import pytest

from selfie.errors import FailedPrecondition, SelfieError, Unavailable
from selfie.generation.engines import EngineIdentity, Policy, Sample, SamplingParameters, SeededPrompt
from selfie.generation.fleet.checks import PromptChecks
from selfie.generation.fleet.discovery import LOOK_UP_EVERY_S, Discovery
from selfie.generation.fleet.engine import FleetEngine
from selfie.generation.fleet.members import Fleet
from selfie.generation.fleet.servers import Look, Wanted
from selfie.generation.http.clients import Address
from selfie.generation.retries import RetryLimits

POLICY, OTHER = "a" * 64, "b" * 64
QUICK = RetryLimits(attempts=5, seconds=5, first_wait_s=0.001, longest_wait_s=0.01)
SAMPLED = SamplingParameters(0.7, 1.0, 8)


class ToyServer:
    """Serves ``weights``, one request at a time; a test may change it, fail it, or hold its answers."""

    most_seeds = 1

    def __init__(self, where: str, weights: str = POLICY, *, permits: int = 4, engine: str = "toy/1") -> None:
        self.where = where
        self.weights = weights
        self.permits = permits
        self.engine = engine
        self.error: SelfieError | None = None
        self.looks = 0
        self.drawn: list[int] = []
        self.closed = False
        self.checked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def look(self) -> Look:
        assert not self.closed, "a server that was closed is asked who it is"
        self.looks += 1
        if self.error is not None:
            raise self.error
        return Look(EngineIdentity(self.weights, "", 100, "float32", self.engine), self.permits)

    async def check_prompt(self, wanted: Wanted) -> None:
        self.checked += 1

    async def draw(self, wanted: Wanted, seeds: Sequence[int]) -> list[Sample]:
        self.drawn += seeds
        await self.may_answer.wait()
        return [Sample((seed,), self.weights, "length", seed) for seed in seeds]

    async def load(self, directory: str, weights_digest: str) -> None:
        self.weights = weights_digest

    async def close(self) -> None:
        self.closed = True


class Toys:
    """A fleet of toys behind the name ``engine``; ``now`` is its time."""

    def __init__(self, *servers: ToyServer) -> None:
        self.servers = {server.where: server for server in servers}
        self.now = 0.0
        discovery = Discovery("http://engine:80", resolve=self._resolve, clock=lambda: self.now)
        self.fleet = Fleet(discovery, self._connect, clock=lambda: self.now)

    async def _resolve(self, host: str, port: int) -> list[str]:
        return list(self.servers)

    def _connect(self, address: Address) -> ToyServer:
        return self.servers[address.url.removeprefix("http://").removesuffix(":80")]

    def engine(self, weights: str = POLICY) -> FleetEngine:
        return FleetEngine(self.fleet, Policy(weights), PromptChecks(), QUICK)


def prompts(count: int = 4) -> list[SeededPrompt]:
    return [SeededPrompt((number,), (10 * number, 10 * number + 1)) for number in range(1, count + 1)]


async def test_the_fleet_is_told_of_as_one_engine():
    toys = Toys(ToyServer("10.0.0.1", engine="toy/2"), ToyServer("10.0.0.2", engine="toy/1"))
    identity = await toys.fleet.identity(POLICY)
    assert identity == EngineIdentity(POLICY, "", 100, "float32", "toy/1 + toy/2")


async def test_a_server_is_asked_anew_for_each_identity_but_not_for_each_sample():
    server = ToyServer("10.0.0.1", permits=100)
    toys = Toys(server)
    engine = toys.engine()
    await engine.sample(prompts(), SAMPLED, weights_digest=POLICY)
    before = server.looks
    await engine.sample(prompts(), SAMPLED, weights_digest=POLICY)
    assert server.looks - before <= 1
    toys.now += 0.1
    await engine.identity()
    assert server.looks == before + 1


async def test_why_nobody_can_be_asked_is_told_of_every_server():
    gone, wrong = ToyServer("10.0.0.1"), ToyServer("10.0.0.2", OTHER)
    gone.error = Unavailable("connection refused")
    toys = Toys(gone, wrong)
    with pytest.raises(Unavailable, match=rf"connection refused; http://10\.0\.0\.2:80: serves {OTHER}"):
        await toys.fleet.identity(POLICY)


async def test_other_weights_everywhere_are_a_mismatch_only_when_everybody_is_there():
    first, second = ToyServer("10.0.0.1", OTHER), ToyServer("10.0.0.2", OTHER)
    toys = Toys(first, second)
    with pytest.raises(FailedPrecondition) as caught:
        await toys.fleet.identity(POLICY)
    assert caught.value.reason == "WeightsMismatch"
    second.error = Unavailable("restarting")
    toys.now += 1
    with pytest.raises(Unavailable):
        await toys.fleet.identity(POLICY)


async def test_nobody_at_all_may_still_come():
    with pytest.raises(Unavailable, match="no ready replica"):
        await Toys().fleet.identity(POLICY)


async def test_a_server_that_failed_is_left_alone_for_its_rest():
    server = ToyServer("10.0.0.1")
    server.error = Unavailable("gone")
    toys = Toys(server)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await toys.fleet.identity(POLICY)
    assert server.looks == 1
    server.error = None
    toys.now += 1.0
    assert (await toys.fleet.identity(POLICY)).weights_digest == POLICY


async def test_samples_of_a_server_whose_address_went_meanwhile_are_drawn_again():
    going, staying = ToyServer("10.0.0.1"), ToyServer("10.0.0.2")
    toys = Toys(going, staying)
    engine = toys.engine()
    going.may_answer.clear()
    work = asyncio.create_task(engine.sample(prompts(8), SAMPLED, weights_digest=POLICY))
    while not going.drawn:
        await asyncio.sleep(0)
    del toys.servers["10.0.0.1"]
    toys.now += LOOK_UP_EVERY_S
    await engine.identity()
    assert not going.closed
    going.may_answer.set()
    samples = await work
    assert [[one.seed for one in of_prompt] for of_prompt in samples] == [
        list(one.seeds) for one in prompts(8)
    ]
    assert going.closed
    assert set(going.drawn) <= set(staying.drawn)


async def test_no_server_has_more_requests_than_it_may():
    server = ToyServer("10.0.0.1", permits=2)
    toys = Toys(server)
    server.may_answer.clear()
    work = asyncio.create_task(toys.engine().sample(prompts(5), SAMPLED, weights_digest=POLICY))
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(server.drawn) == 2
    server.may_answer.set()
    assert len(await work) == 5


async def test_of_the_prompts_that_were_checked_the_latest_are_remembered():
    server, checks = ToyServer("10.0.0.1"), PromptChecks(remembered=2)

    async def check(number: int) -> None:
        await checks.check(server, Wanted((number,), SAMPLED, Policy(POLICY)))

    for number in (1, 2, 1, 3, 1):
        await check(number)
    assert server.checked == 3
    await check(2)
    assert server.checked == 4


async def test_an_idle_fleet_says_so_and_closes_everything():
    server = ToyServer("10.0.0.1")
    toys = Toys(server)
    replica = await toys.fleet.acquire(b"key", POLICY)
    assert not toys.fleet.is_idle
    await toys.fleet.release(replica)
    assert toys.fleet.is_idle
    await toys.fleet.close()
    assert server.closed
