"""`google.longrunning.Operations` of a service, over its runner."""

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2
from google.protobuf.descriptor import ServiceDescriptor

from selfie.rpc.operations import OperationRunner

SERVICE_NAME = "google.longrunning.Operations"


class OperationsServicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]
    """Get, Wait and Cancel; operations are found by name alone, in whatever store they are."""

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        return await self._runner.get(request.name)

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        return await self._runner.wait(request.name, request.timeout.ToMilliseconds() / 1000 or 30)

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, context: grpc.aio.ServicerContext
    ) -> empty_pb2.Empty:
        await self._runner.cancel(request.name)
        return empty_pb2.Empty()


def register(runner: OperationRunner, server: grpc.aio.Server) -> None:
    """Adds the operations of ``runner`` to the server."""
    operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(runner), server)


def served(runner: OperationRunner) -> tuple[ServiceDescriptor, OperationsServicer]:
    """The same to serve over HTTP as well."""
    service = operations_pb2.DESCRIPTOR.services_by_name["Operations"]
    return service, OperationsServicer(runner)
