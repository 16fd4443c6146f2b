"""The scoring service on the wire: decodes, calls, encodes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar, cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from selfie.artifacts.manifests import Manifest
from selfie.errors import Unavailable
from selfie.rpc import operations_servicer
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.operations import Method, OperationRunner
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service
from selfie.scoring.core import Scorer
from selfie.scoring.dataset import score_dataset
from selfie.scoring.messages import (
    compare_response,
    options_of,
    prompt_of,
    provenance_message,
    rank_response,
    response_of,
    scored_message,
    task_of,
)
from selfie.scoring.worker import Worker
from selfie.v1 import scoring_pb2, scoring_pb2_grpc

SERVICE_NAME = "selfie.v1.ScoringService"
_SCORE_DATASET = f"{SERVICE_NAME}/ScoreDataset"

Args = ParamSpec("Args")
Result = TypeVar("Result")


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """Scores by one pair of weights, once they are loaded."""

    def __init__(self, loading: Future[Scorer], worker: Worker, runner: OperationRunner) -> None:
        self._loading = loading
        self._worker = worker
        self._runner = runner

    async def Score(
        self, request: scoring_pb2.ScoreRequest, context: grpc.aio.ServicerContext
    ) -> scoring_pb2.ScoreResponse:
        scorer, options = self._scorer(), request.options
        responses = [response_of(response) for response in request.responses]
        scored = await self._compute(scorer.score, prompt_of(request.prompt), responses, options_of(options))
        return scoring_pb2.ScoreResponse(
            responses=[scored_message(one, per_token=options.per_token) for one in scored],
            provenance=provenance_message(scorer.provenance),
        )

    async def Compare(
        self, request: scoring_pb2.CompareRequest, context: grpc.aio.ServicerContext
    ) -> scoring_pb2.CompareResponse:
        scorer, options = self._scorer(), request.options
        first, second = response_of(request.first), response_of(request.second)
        prompt, wanted = prompt_of(request.prompt), options_of(options)
        found = await self._compute(scorer.compare, prompt, first, second, wanted)
        return compare_response(found, scorer.provenance, per_token=options.per_token)

    async def Rank(
        self, request: scoring_pb2.RankRequest, context: grpc.aio.ServicerContext
    ) -> scoring_pb2.RankResponse:
        scorer, options = self._scorer(), request.options
        responses = [response_of(response) for response in request.responses]
        found = await self._compute(scorer.rank, prompt_of(request.prompt), responses, options_of(options))
        return rank_response(found, scorer.provenance, per_token=options.per_token)

    async def ScoreDataset(
        self, request: scoring_pb2.ScoreDatasetRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        self._scorer()
        return await self._runner.start(
            method=_SCORE_DATASET, request_id=request.request_id, attempt=request.attempt, request=request
        )

    def _scorer(self) -> Scorer:
        if not self._loading.done():
            raise Unavailable("the scorer is loading its weights; ask again when it is ready")
        return self._loading.result()

    async def _compute(self, call: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Result:
        return await asyncio.wrap_future(self._worker.submit(call, *args, **kwargs))


def scoring_service(load: Callable[[], Scorer], *, replica: Replica, max_waiting_calls: int) -> Service:
    """The scoring service, ready when ``load`` has returned."""
    worker = Worker(capacity=max_waiting_calls)
    loading = worker.start(load)

    def work(context: OperationContext, request: Message) -> Manifest:
        task = task_of(cast("scoring_pb2.ScoreDatasetRequest", request))
        # Work taken over from another process may come before the weights are there.
        return score_dataset(context, task, loading.result(), worker)

    methods = {_SCORE_DATASET: Method(scoring_pb2.ScoreDatasetRequest, work)}
    runner = replica.runner(methods)

    def register(server: grpc.aio.Server) -> None:
        servicer = ScoringServicer(loading, worker, runner)
        scoring_pb2_grpc.add_ScoringServiceServicer_to_server(servicer, server)
        operations_servicer.register(runner, server)

    async def loaded() -> None:
        await asyncio.wrap_future(loading)

    async def close() -> None:
        await runner.close()
        await asyncio.to_thread(worker.close)

    names = (SERVICE_NAME, operations_servicer.SERVICE_NAME)
    return Service(names=names, register=register, load=loaded, close=close)
