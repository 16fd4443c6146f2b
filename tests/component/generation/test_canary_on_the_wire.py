"""Before it samples, an engine of another maker is held against the run's own scoring workers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from http_servers import serving
from selfie.artifacts.manifests import publish, read_manifest
from selfie.artifacts.store import Store
from selfie.artifacts.weights import add_directory, weights_digest
from selfie.errors import FailedPrecondition
from selfie.generation.__main__ import build
from selfie.generation.settings import GenerationSettings
from selfie.rpc.channels import connect, domain_errors
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener
from selfie.v1 import artifacts_pb2, generation_pb2, generation_pb2_grpc, scoring_pb2, scoring_pb2_grpc
from tgi_server import TgiStandIn
from toy_models import ToyModel, digest_of

PUBLISH, SERVE = "rounds/01/publish", "rounds/01/serve"
BEFORE = digest_of("the policy before")


@dataclass
class ToyScorer(scoring_pb2_grpc.ScoringServiceServicer):
    """Knows what `ToyModel` says of its own greedy answers, by the weights in each role."""

    model: ToyModel
    held: tuple[str, str]
    asked: list[tuple[int, ...]] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def Score(
        self, request: scoring_pb2.ScoreRequest, context: grpc.aio.ServicerContext
    ) -> scoring_pb2.ScoreResponse:
        prompt, [response] = tuple(request.prompt.prompt_ids), request.responses
        self.asked.append(prompt)
        await self.go_on.wait()
        policy, reference = (self._logprobs(name, prompt, len(response.response_ids)) for name in self.held)
        return scoring_pb2.ScoreResponse(
            responses=[
                scoring_pb2.ScoredResponse(policy_token_logprobs=policy, reference_token_logprobs=reference)
            ],
            provenance=scoring_pb2.Provenance(policy_digest=self.held[0], reference_digest=self.held[1]),
        )

    def _logprobs(self, weights: str, prompt: tuple[int, ...], length: int) -> list[float]:
        drawn = self.model.draw(f"/weights/{weights}", prompt, seed=None, limit=24)
        return [*drawn.logprobs, *[-9.0] * length][:length]

    def service(self) -> Service:
        def register(server: grpc.aio.Server) -> None:
            scoring_pb2_grpc.add_ScoringServiceServicer_to_server(self, server)

        async def close() -> None:
            return None

        return Service(names=("selfie.v1.ScoringService",), register=register, close=close)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_opener((tmp_path.as_uri(),))(f"{tmp_path.as_uri()}/run")


@pytest.fixture
async def policy(store: Store, tiny_checkpoint: Path) -> str:
    entries = add_directory(store, tiny_checkpoint, group="checkpoint", path="p/a1/c", keep_source=True)
    loop = asyncio.get_running_loop()
    context = OperationContext(store=store, step=PUBLISH, attempt=1, writer="w", run_uid="u", loop=loop)
    publish(store, context.manifest(files=entries, weights_digest=weights_digest(entries)))
    return weights_digest(entries)


@pytest.fixture
async def scorer(toy_model: ToyModel, policy: str) -> ToyScorer:
    found = ToyScorer(toy_model, (policy, BEFORE))
    found.go_on.set()
    return found


@pytest.fixture
async def standin(toy_model: ToyModel, policy: str) -> TgiStandIn:
    return TgiStandIn(toy_model, f"/weights/{policy}")


@pytest.fixture
async def stub(
    standin: TgiStandIn, scorer: ToyScorer, tmp_path: Path
) -> AsyncIterator["generation_pb2_grpc.GenerationServiceAsyncStub"]:
    scoring = RunningServer(ServerSettings(drain_seconds=1), scorer.service())
    await scoring.start()
    async with serving(standin.application) as engine:
        settings = GenerationSettings(
            engine="tgi",
            engine_address=engine.url,
            run_scoring_address=f"127.0.0.1:{scoring.port}",
            artifact_roots=(tmp_path.as_uri(),),
            drain_seconds=1,
        )
        server = RunningServer(settings, await build(settings))
        await server.start()
        async with connect(f"127.0.0.1:{server.port}") as channel:
            yield generation_pb2_grpc.GenerationServiceStub(channel)
        await server.stop()
    await scoring.stop()


@pytest.fixture
def request_to_prove(policy: str, tmp_path: Path) -> generation_pb2.VerifyEngineRequest:
    return generation_pb2.VerifyEngineRequest(
        attempt=artifacts_pb2.Attempt(run_uri=f"{tmp_path.as_uri()}/run", step=SERVE, number=1, run_uid="u"),
        policy=artifacts_pb2.Weights(step=PUBLISH, digest=policy),
        previous=artifacts_pb2.Weights(step="rounds/00/publish", digest=BEFORE),
        engine=generation_pb2.ENGINE_KIND_TGI,
    )


async def test_an_engine_whose_numbers_are_the_policys_is_proven(stub, request_to_prove, store):
    await stub.VerifyEngine(request_to_prove, timeout=30)
    proof = read_manifest(store, SERVE)
    assert proof is not None
    canary = proof.parameters["canary"]
    assert canary["outcome"] == "proven"
    assert canary["present"] < 1e-6 < canary["previous"]


async def test_an_engine_that_computes_with_the_weights_before_proves_nothing(
    stub, request_to_prove, store, standin, toy_model
):
    # It says that it serves the policy, as after a reload that was skipped.
    draw = toy_model.draw
    before = f"/weights/{BEFORE}"
    standin.model = type("Skipped", (), {"__getattr__": lambda _, name: getattr(toy_model, name)})()
    standin.model.draw = lambda weights, prompt, **options: draw(before, prompt, **options)
    with pytest.raises(FailedPrecondition, match="those of the policy before") as caught:
        async with domain_errors():
            await stub.VerifyEngine(request_to_prove, timeout=30)
    assert caught.value.reason == "CanaryRefuted"
    assert read_manifest(store, SERVE) is None


async def test_workers_with_other_weights_decide_nothing(stub, request_to_prove, scorer, store):
    scorer.held = (scorer.held[0], digest_of("another"))
    with pytest.raises(FailedPrecondition, match="start some with those weights") as caught:
        async with domain_errors():
            await stub.VerifyEngine(request_to_prove, timeout=30)
    assert caught.value.reason == "OtherWeightsResident"
    assert read_manifest(store, SERVE) is None


async def test_whoever_asks_again_waits_for_the_same_proof(stub, request_to_prove, scorer, store):
    scorer.go_on.clear()
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.VerifyEngine(request_to_prove, timeout=1)
    again = [stub.VerifyEngine(request_to_prove, timeout=30) for _ in range(2)]
    await asyncio.sleep(0.2)
    scorer.go_on.set()
    answers = [await one for one in again]
    assert answers[0].result == answers[1].result
    assert len(scorer.asked) == len(set(scorer.asked)) == 8


async def test_without_a_policy_before_the_engines_word_is_enough(stub, request_to_prove, scorer, store):
    request_to_prove.ClearField("previous")
    await stub.VerifyEngine(request_to_prove, timeout=30)
    assert scorer.asked == []
    proof = read_manifest(store, SERVE)
    assert proof is not None
    assert "canary" not in proof.parameters
