"""The run's scoring workers, asked what an engine's greedy answers are worth to two policies."""

from collections.abc import Sequence

from selfie.errors import FailedPrecondition
from selfie.generation.canary import Logprobs, Reading, Score, Verdict, ask_canary, canary_prompts
from selfie.generation.engines import Engine
from selfie.generation.engines_of_runs import address_for
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect, domain_errors
from selfie.rpc.credentials import Credentials
from selfie.v1 import scoring_pb2, scoring_pb2_grpc


class Judges:
    """Scoring workers of runs, at an address that follows from whose run it is."""

    def __init__(
        self, address: str, *, credentials: Credentials | None = None, timeout_s: float = 120
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._timeout_s = timeout_s

    async def verdict(
        self, engine: Engine, run_uid: str, tokenizer: ChatTokenizer, *, policy: str, previous: str
    ) -> Verdict:
        """What the canary finds; ``policy`` and ``previous`` are the digests of their weights.

        Raises `FailedPrecondition` ``OtherWeightsResident`` where the workers hold others.
        """
        if not self._address:
            message = "no scoring workers are known to hold the engine against; set --run-scoring-address"
            raise FailedPrecondition("ScoringUnknown", message)
        target = address_for(self._address, run_uid)
        async with connect(target, credentials=self._credentials) as channel:
            stub = scoring_pb2_grpc.ScoringServiceStub(channel)
            score = self._score(stub, policy, previous)
            return await ask_canary(engine, canary_prompts(tokenizer), policy, score)

    def _score(self, stub: "scoring_pb2_grpc.ScoringServiceAsyncStub", policy: str, previous: str) -> Score:
        async def score(readings: Sequence[Reading]) -> tuple[Logprobs, Logprobs]:
            answers = [await self._ask(stub, reading) for reading in readings]
            for answer in answers:
                _require_held(answer.provenance, policy, previous)
            found = [answer.responses[0] for answer in answers]
            return (
                [list(one.policy_token_logprobs) for one in found],
                [list(one.reference_token_logprobs) for one in found],
            )

        return score

    async def _ask(
        self, stub: "scoring_pb2_grpc.ScoringServiceAsyncStub", reading: Reading
    ) -> scoring_pb2.ScoreResponse:
        request = scoring_pb2.ScoreRequest(
            prompt=scoring_pb2.PromptInput(prompt_ids=reading.prompt_ids),
            responses=[scoring_pb2.ResponseInput(response_ids=reading.response_ids)],
            options=scoring_pb2.ScoringOptions(per_token=True),
        )
        async with domain_errors():
            return await stub.Score(request, timeout=self._timeout_s)


def _require_held(found: scoring_pb2.Provenance, policy: str, previous: str) -> None:
    held = (found.policy_digest, found.reference_digest)
    if held != (policy, previous):
        raise FailedPrecondition(
            "OtherWeightsResident",
            f"the scoring workers hold {held[0][:12]} and {held[1][:12]}, and {policy[:12]} and "
            f"{previous[:12]} are to be told apart; start some with those weights",
        )
