"""The services' protocol without any computing, for `SimulatedWork`."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.longrunning import operations_pb2_grpc
from google.protobuf import empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cluster.fake_pods import FakePod
from selfie.artifacts.operations import parse_operation_name
from selfie.errors import Unavailable
from selfie.kube.labels import COMPONENT, RUN_UID
from selfie.runs.names import engine_name, scoring_name
from selfie.runs.steps import ENGINE
from selfie.v1 import (
    engine_pb2,
    engine_pb2_grpc,
    filtering_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    scoring_pb2_grpc,
)

if TYPE_CHECKING:
    from fault_work import SimulatedWork


@dataclass(frozen=True)
class Own:
    """A service of one run's own: whatever pod its Service reaches."""

    work: "SimulatedWork"
    namespace: str
    name: str

    async def pod(self) -> FakePod | None:
        return await self.work.reached(self.namespace, self.name)


class Batches(
    generation_pb2_grpc.GenerationServiceServicer,
    filtering_pb2_grpc.FilteringServiceServicer,
    scoring_pb2_grpc.ScoringServiceServicer,
):
    """Generation and filtering, or a run's own scoring workers."""

    def __init__(self, work: "SimulatedWork", own: Own | None) -> None:
        self._work, self._own = work, own

    async def GenerateDataset(self, request: Any, context: Any) -> Any:
        return await self._work.start(request.attempt, None, {"policy": request.policy.digest})

    async def VerifyEngine(self, request: Any, context: Any) -> Any:
        operation = await self._work.start(request.attempt, None, {"policy": request.policy.digest})
        if not operation.HasField("response"):
            raise Unavailable("the engine does not serve these weights")
        return generation_pb2.VerifyEngineResponse()

    async def FilterDataset(self, request: Any, context: Any) -> Any:
        return await self._work.start(request.attempt, None, {})

    async def ScoreDataset(self, request: Any, context: Any) -> Any:
        while request.attempt.run_uid in self._work.hangs:
            await asyncio.sleep(0.1)
        served = {"policy": request.policy.digest, "reference": request.reference.digest}
        return await self._work.start(request.attempt, self._own, served)


class Engine(engine_pb2_grpc.EngineServiceServicer):
    """What an engine says of itself."""

    def __init__(self, own: Own) -> None:
        self._own = own

    async def GetEngine(self, request: Any, context: Any) -> Any:
        pod = await self._own.pod()
        return engine_pb2.GetEngineResponse(weights_digest=argument(pod, "--weights-digest") if pod else "")


class Operations(operations_pb2_grpc.OperationsServicer):
    """Operations of all batch calls."""

    def __init__(self, work: "SimulatedWork") -> None:
        self._work = work

    async def GetOperation(self, request: Any, context: Any) -> Any:
        return await self._work.operation(request.name)

    async def CancelOperation(self, request: Any, context: Any) -> Any:
        self._work._known.pop(parse_operation_name(request.name), None)
        return empty_pb2.Empty()


class Health(health_pb2_grpc.HealthServicer):
    """Ready where a pod is reached; shared services always are."""

    def __init__(self, own: Own | None) -> None:
        self._own = own

    async def Check(self, request: Any, context: Any) -> Any:
        ready = self._own is None or await self._own.pod() is not None
        status = health_pb2.HealthCheckResponse
        return status(status=status.SERVING if ready else status.NOT_SERVING)


def service_of(pod: FakePod) -> str:
    """The run's own Service that the pod belongs to."""
    uid = pod.labels[RUN_UID]
    return engine_name(uid) if pod.labels[COMPONENT] == ENGINE else scoring_name(uid)


def argument(pod: FakePod, flag: str) -> str:
    """What follows the flag in the pod's arguments, or nothing."""
    arguments = pod.arguments
    return arguments[arguments.index(flag) + 1] if flag in arguments else ""
