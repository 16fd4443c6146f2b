"""The filtering service on the wire: decodes, calls, encodes."""

import asyncio
from typing import cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from selfie.artifacts.manifests import Manifest, ManifestRef
from selfie.filtering.dataset import filter_dataset
from selfie.filtering.messages import candidate_of, filter_response, rules_of
from selfie.filtering.rules import label_pairs
from selfie.rpc import operations_servicer
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.operations import Method, OperationRunner
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service
from selfie.v1 import filtering_pb2, filtering_pb2_grpc

SERVICE_NAME = "selfie.v1.FilteringService"
_FILTER_DATASET = f"{SERVICE_NAME}/FilterDataset"


class FilteringServicer(filtering_pb2_grpc.FilteringServiceServicer):
    """Labels pairs; keeps nothing between calls."""

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner

    async def Filter(
        self, request: filtering_pb2.FilterRequest, context: grpc.aio.ServicerContext
    ) -> filtering_pb2.FilterResponse:
        candidates = [candidate_of(pair) for pair in request.pairs]
        labels = await asyncio.to_thread(label_pairs, candidates, rules_of(request.rules))
        return filter_response(labels)

    async def FilterDataset(
        self, request: filtering_pb2.FilterDatasetRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        return await self._runner.start(
            method=_FILTER_DATASET, request_id=request.request_id, attempt=request.attempt, request=request
        )


def filtering_service(replica: Replica) -> Service:
    """The filtering service, with the operations that its batch call starts."""

    def work(context: OperationContext, request: Message) -> Manifest:
        asked = cast("filtering_pb2.FilterDatasetRequest", request)
        source = ManifestRef(path=asked.input.path, sha256=asked.input.sha256)
        return filter_dataset(context, source, rules_of(asked.rules))

    methods = {_FILTER_DATASET: Method(filtering_pb2.FilterDatasetRequest, work)}
    runner = replica.runner(methods)

    def register(server: grpc.aio.Server) -> None:
        filtering_pb2_grpc.add_FilteringServiceServicer_to_server(FilteringServicer(runner), server)
        operations_servicer.register(runner, server)

    return Service(
        names=(SERVICE_NAME, operations_servicer.SERVICE_NAME), register=register, close=runner.close
    )
