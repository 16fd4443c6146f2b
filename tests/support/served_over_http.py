"""A scorer served over HTTP and gRPC for tests, and what they ask it."""

import asyncio
import threading
from typing import Any

from selfie.artifacts.store import open_store
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring.calls import OnlineLimits
from selfie.scoring.core import Scorer
from selfie.scoring.servicer import scoring_service
from web import Answer, ask

SERVICE = "/selfie.v1.ScoringService"
PROMPT = {"text": "What is the capital of France?"}
COMPARE = {"prompt": PROMPT, "first": {"text": "Paris."}, "second": {"text": "The sea is wide."}}


class Served:
    """A scorer over both ways; ``release`` lets it load."""

    def __init__(self, scorer: Scorer, limits: OnlineLimits, **settings: Any) -> None:
        self.release = threading.Event()

        def load() -> Scorer:
            self.release.wait(20)
            return scorer

        service = scoring_service(load, replica=Replica(owner="t", open_store=open_store), limits=limits)
        self.server = RunningServer(ServerSettings(drain_seconds=1, http_port=0, **settings), service)

    async def listening(self) -> None:
        self._starting = asyncio.create_task(self.server.start())
        async with asyncio.timeout(20):
            while not self.server.http_port:
                await asyncio.sleep(0.01)

    async def ready(self) -> None:
        self.release.set()
        await self._starting

    async def ask(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await ask(f"http://127.0.0.1:{self.server.http_port}{path}", body, headers=headers)
