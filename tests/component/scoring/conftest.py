"""A scorer behind a real port, what it is asked, and an engine whose work can be held up."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from selfie.artifacts.store import Store, open_store
from selfie.rpc.channels import connect
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener
from selfie.scoring.calls import DEFAULT_LIMITS, OnlineLimits
from selfie.scoring.core import Scorer
from selfie.scoring.rows import Engine
from selfie.scoring.servicer import scoring_service
from selfie.v1 import artifacts_pb2, scoring_pb2, scoring_pb2_grpc
from served_over_http import Served

CHAT = [artifacts_pb2.Message(role="user", content="What is the capital of France?")]
LAMBDA = 0.5


@pytest.fixture
async def channel(scorer: Scorer, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    opens = store_opener((tmp_path.as_uri(),))
    async with serving(scorer, "scoring-test", opens=opens) as made:
        yield made


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> scoring_pb2_grpc.ScoringServiceStub:
    return scoring_pb2_grpc.ScoringServiceStub(channel)


def responses(*texts: str) -> list[scoring_pb2.ResponseInput]:
    return [scoring_pb2.ResponseInput(text=text) for text in texts]


def score_request(*texts: str, **options) -> scoring_pb2.ScoreRequest:
    return scoring_pb2.ScoreRequest(
        prompt=scoring_pb2.PromptInput(messages=CHAT),
        responses=responses(*texts),
        options=scoring_pb2.ScoringOptions(lambdas=[LAMBDA], **options),
    )


class HeldEngine:
    """The scorer's engine; holds its second call until it is released, and keeps the rows of each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rows_by_call: list[int] = []
        self.held, self.release = threading.Event(), threading.Event()

    def score(self, rows, wanted):
        self.rows_by_call.append(len(rows))
        if len(self.rows_by_call) == 2:
            self.held.set()
            self.release.wait(20)
        return self._engine.score(rows, wanted)

    def __getattr__(self, name: str):
        return getattr(self._engine, name)


@asynccontextmanager
async def serving(
    scorer: Scorer,
    owner: str,
    *,
    max_waiting_calls: int = 8,
    opens: Callable[[str], Store] = open_store,
) -> AsyncIterator[grpc.aio.Channel]:
    service = scoring_service(
        lambda: scorer,
        replica=Replica(owner=owner, open_store=opens),
        limits=OnlineLimits(max_waiting_calls=max_waiting_calls),
    )
    server = RunningServer(ServerSettings(drain_seconds=1), service)
    await server.start()
    async with connect(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await server.stop()


@pytest.fixture
async def serve(scorer: Scorer) -> AsyncIterator[Any]:
    started: list[Served] = []

    async def serving(
        *, limits: OnlineLimits = DEFAULT_LIMITS, ready: bool = True, **settings: Any
    ) -> Served:
        served = Served(scorer, limits, **settings)
        started.append(served)
        await served.listening()
        if ready:
            await served.ready()
        return served

    yield serving
    for served in started:
        await served.ready()
        await served.server.stop()
