"""One toy server for all the services that a step may go to, and channels to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2

from selfie.errors import NotFound
from selfie.rpc.channels import connect
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings
from selfie.v1 import (
    filtering_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    scoring_pb2_grpc,
    training_pb2,
    training_pb2_grpc,
)


@dataclass
class Toy:
    """What the services answer, and what they were asked."""

    operation: operations_pb2.Operation | Exception = field(default_factory=operations_pb2.Operation)
    job: training_pb2.TrainingJob | Exception = field(default_factory=training_pb2.TrainingJob)
    asked: list[tuple[str, object]] = field(default_factory=list)

    async def answer(self, method: str, request: object) -> object:
        await asyncio.sleep(0)
        self.asked.append((method, request))
        found = self.job if "Job" in method else self.operation
        if isinstance(found, Exception):
            raise found
        return found


class _Answering:
    def __init__(self, toy: Toy) -> None:
        self.toy = toy


class Generation(_Answering, generation_pb2_grpc.GenerationServiceServicer):
    async def GenerateDataset(self, request, context):
        return await self.toy.answer("GenerateDataset", request)

    async def VerifyEngine(self, request, context):
        await self.toy.answer("VerifyEngine", request)
        return generation_pb2.VerifyEngineResponse()


class Scoring(_Answering, scoring_pb2_grpc.ScoringServiceServicer):
    async def ScoreDataset(self, request, context):
        return await self.toy.answer("ScoreDataset", request)


class Filtering(_Answering, filtering_pb2_grpc.FilteringServiceServicer):
    async def FilterDataset(self, request, context):
        return await self.toy.answer("FilterDataset", request)


class Training(_Answering, training_pb2_grpc.TrainingServiceServicer):
    async def CreateTrainingJob(self, request, context):
        return await self.toy.answer("CreateTrainingJob", request)

    async def GetTrainingJob(self, request, context):
        return await self.toy.answer("GetTrainingJob", request)

    async def CancelTrainingJob(self, request, context):
        return await self.toy.answer("CancelTrainingJob", request)


class Operations(_Answering, operations_pb2_grpc.OperationsServicer):
    async def GetOperation(self, request, context):
        return await self.toy.answer("GetOperation", request)

    async def CancelOperation(self, request, context):
        await self.toy.answer("CancelOperation", request)
        return empty_pb2.Empty()


def _register(toy: Toy) -> Callable[[grpc.aio.Server], None]:
    def register(server: grpc.aio.Server) -> None:
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(Generation(toy), server)
        scoring_pb2_grpc.add_ScoringServiceServicer_to_server(Scoring(toy), server)
        filtering_pb2_grpc.add_FilteringServiceServicer_to_server(Filtering(toy), server)
        training_pb2_grpc.add_TrainingServiceServicer_to_server(Training(toy), server)
        operations_pb2_grpc.add_OperationsServicer_to_server(Operations(toy), server)

    return register


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Toy], Awaitable[grpc.aio.Channel]]]:
    """Starts a server that answers as the toy says; returns a channel to it."""
    started: list[tuple[RunningServer, grpc.aio.Channel]] = []

    async def start(toy: Toy) -> grpc.aio.Channel:
        service = Service(names=("selfie.v1.TrainingService",), register=_register(toy))
        server = RunningServer(ServerSettings(drain_seconds=0), service)
        await server.start()
        channel = connect(f"127.0.0.1:{server.port}")
        started.append((server, channel))
        return channel

    yield start
    for server, channel in started:
        await channel.close()
        await server.stop()


@pytest.fixture
def gone() -> NotFound:
    return NotFound("never started")


@pytest.fixture
def make_toy() -> type[Toy]:
    return Toy
