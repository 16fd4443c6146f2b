"""The scoring service on the wire: decodes, calls, encodes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from typing import cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from selfie.artifacts.manifests import Manifest
from selfie.errors import Unavailable
from selfie.rpc import operations_servicer
from selfie.rpc.callers import CALLER
from selfie.rpc.entrances import HttpApi
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.operations import Method, OperationRunner
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service
from selfie.scoring import metrics
from selfie.scoring.ahead import score_ahead
from selfie.scoring.answers import ScoredResponse, compared, ranked, scored
from selfie.scoring.calls import DEFAULT_LIMITS, OnlineCalls, OnlineLimits
from selfie.scoring.core import Scorer, by_field, exactly, replaced, unsure_of, wanted_first
from selfie.scoring.dataset import score_dataset
from selfie.scoring.messages import (
    compare_response,
    input_of,
    options_of,
    prompt_of,
    rank_response,
    response_of,
    score_response,
    task_of,
)
from selfie.scoring.metrics import tell_mode
from selfie.scoring.online import OnlineQueue
from selfie.scoring.pairs import WeightPairs, nothing_to_find
from selfie.scoring.places import Places
from selfie.scoring.questions import Options, Response
from selfie.scoring.rows import Engine, Row, RowScore, Wanted
from selfie.scoring.tasks import UnpublishedSamples
from selfie.scoring.worker import Worker
from selfie.v1 import scoring_pb2, scoring_pb2_grpc


@dataclass(frozen=True)
class MoreWeights:
    """Weights that calls may name: which, and those in memory."""

    places: Places
    pairs: WeightPairs

    def engine(self, key: str, own: Scorer) -> Engine:
        """That of a pair by its key; of an empty key the scorer's own."""
        return self.pairs.engine(key) if key else own.engine


SERVICE_NAME = "selfie.v1.ScoringService"
NO_MORE_WEIGHTS = MoreWeights(Places(), WeightPairs(nothing_to_find, max_bytes=0))
_SCORE_DATASET = f"{SERVICE_NAME}/ScoreDataset"


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """Scores by the pair of weights that is being loaded, or by those that calls name."""

    def __init__(
        self, loading: Future[Scorer], calls: OnlineCalls, runner: OperationRunner, more: MoreWeights
    ) -> None:
        self._loading = loading
        self._calls = calls
        self._runner = runner
        self._more = more

    async def Score(
        self, request: scoring_pb2.ScoreRequest, context: grpc.aio.ServicerContext
    ) -> scoring_pb2.ScoreResponse:
        responses = by_field([response_of(response) for response in request.responses])
        async with self._asked(request.options) as (scorer, options):
            scores, rescored = await self._scored(scorer, request.prompt, responses, options, context)
            return score_response(scores, scorer, request.options, rescored)

    async def Compare(
        self, request: scoring_pb2.CompareRequest, context: grpc.aio.ServicerContext
    ) -> scoring_pb2.CompareResponse:
        responses = {"first": response_of(request.first), "second": response_of(request.second)}
        async with self._asked(request.options) as (scorer, options):
            scores, rescored = await self._scored(scorer, request.prompt, responses, options, context)
            first, second = scores
            found = compared(first, second, options, scorer.slope(options), rescored=rescored)
            return compare_response(found, scorer, request.options)

    async def Rank(
        self, request: scoring_pb2.RankRequest, context: grpc.aio.ServicerContext
    ) -> scoring_pb2.RankResponse:
        responses = by_field([response_of(response) for response in request.responses])
        async with self._asked(request.options) as (scorer, options):
            scores, rescored = await self._scored(scorer, request.prompt, responses, options, context)
            found = ranked(scores, options, scorer.slope(options), rescored=rescored)
            return rank_response(found, scorer, request.options)

    async def ScoreDataset(
        self, request: scoring_pb2.ScoreDatasetRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        self._scorer()
        return await self._runner.start(
            method=_SCORE_DATASET, request_id=request.request_id, attempt=request.attempt, request=request
        )

    @asynccontextmanager
    async def _asked(self, asked: scoring_pb2.ScoringOptions) -> AsyncIterator[tuple[Scorer, Options]]:
        options = options_of(asked)
        if options.weights is None:
            scorer = self._scorer()
            yield scorer, scorer.settled(options)
            return
        self._more.places.check(options.weights, CALLER.get())
        async with self._more.pairs.held(options.weights) as scorer:
            yield scorer, scorer.settled(options)

    def _scorer(self) -> Scorer:
        if not self._loading.done():
            raise Unavailable("the scorer is loading its weights; ask again when it is ready")
        return self._loading.result()

    async def _scored(
        self,
        scorer: Scorer,
        prompt: scoring_pb2.PromptInput,
        responses: Mapping[str, Response],
        options: Options,
        context: grpc.aio.ServicerContext,
    ) -> tuple[list[ScoredResponse], int]:
        """Scores, and the number of pairs that were scored again."""
        ask = partial(scorer.asked, prompt_of(prompt), responses, options)
        wanted = replace(wanted_first(scorer, options), keep_prompts=True)
        asked, scores = await self._calls.scores(ask, wanted, seconds_left=context.time_remaining())
        unsure = unsure_of(scores, options)
        if unsure.responses:
            indices = sorted(unsure.responses)
            part = replace(asked, rows=tuple(asked.rows[index] for index in indices))
            seconds_left = context.time_remaining()
            _, again = await self._calls.scores(lambda: part, exactly(wanted), seconds_left=seconds_left)
            scores = replaced(scores, dict(zip(indices, again, strict=True)))
            metrics.RESCORED.inc(unsure.pairs)
        found = scored(asked, scores, options)
        for one in found:
            metrics.RESPONSES.labels(one.precision).inc()
        return found, unsure.pairs


def scoring_service(
    load: Callable[[], Scorer],
    *,
    replica: Replica,
    token_budget: int = 1024,
    limits: OnlineLimits = DEFAULT_LIMITS,
    more: MoreWeights = NO_MORE_WEIGHTS,
) -> Service:
    """The scoring service, ready when ``load`` has returned; ``more`` are weights that calls may name."""
    worker = Worker()
    loading = worker.start(load)

    def score(rows: Sequence[Row], wanted: Wanted) -> Sequence[RowScore]:
        return more.engine(wanted.weights, loading.result()).score(rows, wanted)

    def work(context: OperationContext, request: Message) -> Manifest:
        # Work taken over from another process may come before the weights are there.
        return _worked_off(context, request, loading.result(), worker)

    queue = OnlineQueue(
        worker, score, token_budget=token_budget, max_waiting_tokens=limits.max_waiting_tokens
    )
    runner = replica.runner({_SCORE_DATASET: Method(scoring_pb2.ScoreDatasetRequest, work)})
    servicer = ScoringServicer(loading, OnlineCalls(queue, limits), runner, more)

    def register(server: grpc.aio.Server) -> None:
        scoring_pb2_grpc.add_ScoringServiceServicer_to_server(servicer, server)
        operations_servicer.register(runner, server)

    async def loaded() -> None:
        tell_mode(await asyncio.wrap_future(loading))

    async def close() -> None:
        await runner.close()
        await more.pairs.close()
        await asyncio.to_thread(worker.close)

    return Service(
        names=(SERVICE_NAME, operations_servicer.SERVICE_NAME),
        register=register,
        api=_api(servicer, runner),
        load=loaded,
        close=close,
    )


def _worked_off(context: OperationContext, request: Message, scorer: Scorer, worker: Worker) -> Manifest:
    asked = cast("scoring_pb2.ScoreDatasetRequest", request)
    task, source = task_of(asked), input_of(asked)
    if isinstance(source, UnpublishedSamples):
        score_ahead(context, task, source, scorer, worker)
    return score_dataset(context, task, source, scorer, worker)


def _api(servicer: ScoringServicer, runner: OperationRunner) -> HttpApi:
    service = scoring_pb2.DESCRIPTOR.services_by_name["ScoringService"]
    return HttpApi(
        servicers=((service, servicer), operations_servicer.served(runner)),
        description=files("selfie.scoring").joinpath("openapi.json").read_bytes(),
    )
