"""The follower's service: it answers for the engine beside it, and follows what is wanted meanwhile."""

import asyncio
import os
import signal
from contextlib import suppress
from typing import Final

import grpc
import structlog

from selfie.errors import FailedPrecondition, SelfieError
from selfie.generation.fleet.servers import Server
from selfie.generation.following.follower import Follower
from selfie.rpc.server import Service
from selfie.v1 import engine_pb2, engine_pb2_grpc

log = structlog.get_logger()

SERVICE_NAME: Final = "selfie.v1.EngineService"
_LONGEST_WAIT_S: Final = 30.0
"""After an engine has failed at it again and again."""


class FollowingServicer(engine_pb2_grpc.EngineServiceServicer):
    """Says which weights the engine has; samples are drawn from the engine itself."""

    def __init__(self, follower: Follower, server: Server, look_s: float) -> None:
        self._follower = follower
        self._server = server
        self._look_s = look_s
        self._following: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Returns once the engine has its first weights, and goes on following."""
        await self._bring()
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stops following; an engine that is just being moved finishes by itself."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await self._server.close()

    async def GetEngine(
        self, request: engine_pb2.GetEngineRequest, context: grpc.aio.ServicerContext
    ) -> engine_pb2.GetEngineResponse:
        found = (await self._server.look()).identity
        return engine_pb2.GetEngineResponse(
            weights_digest=found.weights_digest,
            max_context_tokens=found.max_context_tokens,
            precision=found.precision,
            engine=found.engine,
        )

    async def Sample(
        self, request: engine_pb2.SampleRequest, context: grpc.aio.ServicerContext
    ) -> engine_pb2.SampleResponse:
        raise FailedPrecondition("AskTheEngine", "samples are drawn from the engine itself, over HTTP")

    async def _bring(self) -> None:
        """Until the engine has what is wanted; raises what waiting does not mend."""
        wait = self._look_s
        while True:
            try:
                if await self._follower.bring(self._server):
                    return
            except SelfieError as error:
                if not error.retryable:
                    raise
                log.info("the engine has not followed yet", error=str(error))
                wait = min(2 * wait, _LONGEST_WAIT_S)
            await asyncio.sleep(wait)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            try:
                await self._bring()
            except SelfieError as error:
                # The kubelet starts this process anew, whose last words then say what is wrong.
                log.critical("the engine cannot follow", error=str(error))
                os.kill(os.getpid(), signal.SIGTERM)
                return


def following_service(follower: Follower, server: Server, *, look_s: float) -> Service:
    """The service, ready once the engine has the weights that are wanted first."""
    servicer = FollowingServicer(follower, server, look_s)

    def register(listening: grpc.aio.Server) -> None:
        engine_pb2_grpc.add_EngineServiceServicer_to_server(servicer, listening)

    return Service(names=(SERVICE_NAME,), register=register, load=servicer.load, close=servicer.close)
