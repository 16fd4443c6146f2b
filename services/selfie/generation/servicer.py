"""The generation service on the wire: decodes, calls, encodes."""

from dataclasses import dataclass, field
from typing import cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from selfie.artifacts.manifests import Manifest
from selfie.generation.dataset import generate_dataset
from selfie.generation.flow import Flow
from selfie.generation.fronts import Fronts
from selfie.generation.judging import Judges
from selfie.generation.messages import (
    identity_message,
    job_of,
    kind_of,
    parameters_of,
    sample_message,
    weights_of,
)
from selfie.generation.online import Generator, Wish
from selfie.generation.proofs import Proofs
from selfie.generation.retries import RetryingEngine, RetryLimits
from selfie.models.chat import ChatTokenizer
from selfie.rpc import operations_servicer
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.operation_messages import step_result
from selfie.rpc.operations import Method, OperationRunner
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service
from selfie.v1 import generation_pb2, generation_pb2_grpc

SERVICE_NAME = "selfie.v1.GenerationService"
_GENERATE_DATASET = f"{SERVICE_NAME}/GenerateDataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the service is put together from.

    ``tokenizer`` is the policy's, if chats are taken; ``judges`` are what engines' numbers are held against.
    Batch work waits an engine's failures out by ``retries``; an online caller hears of them.
    """

    fronts: Fronts
    replica: Replica
    judges: Judges = field(default_factory=lambda: Judges(""))
    tokenizer: ChatTokenizer | None = None
    flow: Flow = field(default_factory=Flow)
    retries: RetryLimits = field(default_factory=RetryLimits)


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Samples for callers, through one engine."""

    def __init__(self, parts: Parts, runner: OperationRunner) -> None:
        self._parts = parts
        self._runner = runner
        self._proofs = Proofs(parts.fronts, parts.judges, parts.replica)

    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        wish = Wish(request.samples, parameters_of(request.parameters), request.random_seed)
        generator = Generator(self._parts.fronts.of().online(), self._parts.tokenizer)
        if request.messages:
            chat = [{"role": turn.role, "content": turn.content} for turn in request.messages]
            found = await generator.from_messages(chat, wish)
        else:
            found = await generator.from_ids(tuple(request.prompt_ids), wish)
        return generation_pb2.GenerateResponse(
            responses=[sample_message(sample) for sample in found.samples],
            prompt_ids=found.prompt_ids,
            weights_digest=found.weights_digest,
        )

    async def VerifyEngine(
        self, request: generation_pb2.VerifyEngineRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.VerifyEngineResponse:
        identity, ref, proof = await self._proofs.of(request)
        return generation_pb2.VerifyEngineResponse(
            engine=identity_message(identity), result=step_result(ref, proof)
        )

    async def GenerateDataset(
        self, request: generation_pb2.GenerateDatasetRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        return await self._runner.start(
            method=_GENERATE_DATASET,
            request_id=request.request_id,
            attempt=request.attempt,
            request=request,
        )


def generation_service(parts: Parts) -> Service:
    """The generation service, with the operations that its batch call starts."""

    async def generate(context: OperationContext, request: generation_pb2.GenerateDatasetRequest) -> Manifest:
        engine = await parts.fronts.of(kind_of(request)).of_policy(context, weights_of(request.policy))
        return await generate_dataset(
            context, job_of(request), RetryingEngine(engine, parts.retries), parts.flow
        )

    def work(context: OperationContext, request: Message) -> Manifest:
        return context.wait_for(generate(context, cast("generation_pb2.GenerateDatasetRequest", request)))

    methods = {_GENERATE_DATASET: Method(generation_pb2.GenerateDatasetRequest, work)}
    runner = parts.replica.runner(methods)

    def register(server: grpc.aio.Server) -> None:
        servicer = GenerationServicer(parts, runner)
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(servicer, server)
        operations_servicer.register(runner, server)

    return Service(
        names=(SERVICE_NAME, operations_servicer.SERVICE_NAME), register=register, close=runner.close
    )
