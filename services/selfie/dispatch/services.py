"""The services that steps go to, as they are asked whether they are there, and who they are."""

from typing import Final

import grpc

from selfie import errors
from selfie.rpc.channels import domain_errors
from selfie.runs.steps import ENGINE, FILTERING, GENERATION, SCORING, TRAINING
from selfie.v1 import engine_pb2, engine_pb2_grpc

GRPC_SERVICES: Final = {
    ENGINE: "selfie.v1.EngineService",
    GENERATION: "selfie.v1.GenerationService",
    SCORING: "selfie.v1.ScoringService",
    FILTERING: "selfie.v1.FilteringService",
    TRAINING: "selfie.v1.TrainingService",
}
"""Full name of each one's service, by which its health is asked for too."""


async def engine_digest(channel: grpc.aio.Channel, *, timeout_s: float = 10) -> str:
    """Digest of the weights that the engine says it serves; empty if it says nothing."""
    try:
        async with domain_errors():
            stub = engine_pb2_grpc.EngineServiceStub(channel)
            answer = await stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=timeout_s)
    except errors.SelfieError:
        return ""
    return str(answer.weights_digest)
