"""The engine on the wire: decodes, calls, encodes."""

import asyncio
from collections.abc import Callable

import grpc

from selfie.engine.loading import Loaded
from selfie.engine.messages import identity_message, parameters_of, prompts_of, response_message
from selfie.errors import Unavailable
from selfie.rpc.server import Service
from selfie.v1 import engine_pb2, engine_pb2_grpc

SERVICE_NAME = "selfie.v1.EngineService"


class EngineServicer(engine_pb2_grpc.EngineServiceServicer):
    """Answers for one engine, once it has loaded."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._loaded: Loaded | None = None

    async def load(self) -> None:
        """Loads the engine without holding up the calls that ask for health."""
        self._loaded = await asyncio.to_thread(self._load)

    async def close(self) -> None:
        """Ends the engine's thread."""
        if self._loaded is not None:
            await asyncio.to_thread(self._loaded.engine.close)

    async def GetEngine(
        self, request: engine_pb2.GetEngineRequest, context: grpc.aio.ServicerContext
    ) -> engine_pb2.GetEngineResponse:
        return identity_message(self._ready().engine.identity)

    async def Sample(
        self, request: engine_pb2.SampleRequest, context: grpc.aio.ServicerContext
    ) -> engine_pb2.SampleResponse:
        loaded = self._ready()
        if request.expected_weights_digest:
            loaded.engine.require(request.expected_weights_digest)
        answer = await loaded.engine.sample(prompts_of(request), parameters_of(request.parameters))
        return engine_pb2.SampleResponse(
            prompts=[
                engine_pb2.SampledPrompt(
                    responses=[response_message(response, loaded.tokenizer) for response in responses]
                )
                for responses in answer
            ],
            weights_digest=loaded.engine.identity.weights_digest,
        )

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise Unavailable("the engine is loading its weights; ask again when it is ready")
        return self._loaded


def engine_service(load: Callable[[], Loaded]) -> Service:
    """The engine's service, ready when ``load`` has returned."""
    servicer = EngineServicer(load)

    def register(server: grpc.aio.Server) -> None:
        engine_pb2_grpc.add_EngineServiceServicer_to_server(servicer, server)

    return Service(names=(SERVICE_NAME,), register=register, load=servicer.load, close=servicer.close)
