"""Engines behind HTTP, as the stand-ins in `tests/support` serve them, over real ports."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from http_servers import HttpServer
from selfie.generation.engines import Policy, Sample, SeededPrompt
from selfie.generation.fleet.checks import PromptChecks
from selfie.generation.fleet.discovery import Discovery
from selfie.generation.fleet.engine import FleetEngine
from selfie.generation.fleet.members import Fleet
from selfie.generation.http.clients import Access
from selfie.generation.retries import RetryLimits
from selfie.generation.tgi.server import TgiServer
from selfie.models.chat import ChatTokenizer
from tgi_server import TgiStandIn
from toy_models import ToyModel, digest_of

POLICY, OTHER = digest_of("the policy"), digest_of("another")
# Enough tries to outlast the rest that a replica is given after a failure.
QUICK = RetryLimits(attempts=100, seconds=20, first_wait_s=0.02, longest_wait_s=0.4)
PATIENT = Access(timeout_s=30)
QUESTIONS = ("What is the sea?", "Ask a short question.", "Seven boats?", "How do I bake bread?", "Paris?")


@pytest.fixture(scope="session")
def toy_model(tiny_checkpoint: Path) -> ToyModel:
    return ToyModel(tiny_checkpoint)


@pytest.fixture(scope="session")
def tokenizer(tiny_checkpoint: Path) -> ChatTokenizer:
    return ChatTokenizer(tiny_checkpoint)


@pytest.fixture
def prompts(tokenizer: ChatTokenizer) -> list[SeededPrompt]:
    """One for each question, three seeds each."""
    chats = [[{"role": "user", "content": question}] for question in QUESTIONS]
    return [
        SeededPrompt(tokenizer.prompt_ids(chat).ids, tuple(range(100 * place + 1, 100 * place + 4)))
        for place, chat in enumerate(chats)
    ]


class Tgi:
    """One or more TGI stand-ins, and engines that go through them."""

    def __init__(self, model: ToyModel, tokenizer: ChatTokenizer, stack: AsyncExitStack) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._stack = stack
        self.standins: list[TgiStandIn] = []
        self.servers: list[HttpServer] = []

    async def start(self, weights: str = POLICY, **settings) -> TgiStandIn:
        standin = self.make(weights, **settings)
        server = HttpServer(standin.application)
        await server.start()
        self._stack.push_async_callback(server.stop)
        self.standins.append(standin)
        self.servers.append(server)
        return standin

    def make(self, weights: str = POLICY, *, model: ToyModel | None = None, **settings) -> TgiStandIn:
        return TgiStandIn(model or self._model, f"/weights/{weights}", **settings)

    def engine(
        self,
        *,
        weights: str = POLICY,
        tokenizer: ChatTokenizer | None = None,
        access: Access = PATIENT,
        limits: RetryLimits = QUICK,
    ) -> FleetEngine:
        targets = ",".join(server.url for server in self.servers)
        fleet = Fleet(Discovery(targets), lambda address: TgiServer(address, access))
        self._stack.push_async_callback(fleet.close)
        return FleetEngine(fleet, Policy(weights, tokenizer or self._tokenizer), PromptChecks(), limits)


@pytest.fixture
async def tgi(toy_model: ToyModel, tokenizer: ChatTokenizer) -> AsyncIterator[Tgi]:
    async with AsyncExitStack() as stack:
        yield Tgi(toy_model, tokenizer, stack)


def drawn_by(model: ToyModel, weights: str, prompts: Sequence[SeededPrompt], limit: int) -> list[list[tuple]]:
    """Ids and seed of every sample that these weights give."""
    return [
        [
            (model.draw(f"/weights/{weights}", one.prompt_ids, seed=seed, limit=limit).ids, seed)
            for seed in one.seeds
        ]
        for one in prompts
    ]


def told(samples: Sequence[Sequence[Sample]]) -> list[list[tuple]]:
    """Ids and seed of the samples that came."""
    return [[(one.response_ids, one.seed) for one in of_prompt] for of_prompt in samples]
