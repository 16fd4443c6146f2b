"""Adapter of Selfie's own engine, over gRPC."""

from collections.abc import Sequence

import grpc

from selfie.generation.engines import (
    EngineIdentity,
    FinishReason,
    Sample,
    SamplingParameters,
    SeededPrompt,
)
from selfie.rpc.channels import domain_errors
from selfie.v1 import artifacts_pb2, engine_pb2, engine_pb2_grpc

_IDENTITY_TIMEOUT_S = 10.0
_FINISH_REASONS: dict[int, FinishReason] = {
    artifacts_pb2.FINISH_REASON_STOP: "stop",
    artifacts_pb2.FINISH_REASON_LENGTH: "length",
}


class EmbeddedEngine:
    """The engine behind a channel; ``timeout_s`` bounds one sampling call, its wait included."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float) -> None:
        self._stub = engine_pb2_grpc.EngineServiceStub(channel)
        self._timeout_s = timeout_s

    async def identity(self) -> EngineIdentity:
        """Who answers right now."""
        async with domain_errors():
            answer = await self._stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=_IDENTITY_TIMEOUT_S)
        return EngineIdentity(
            weights_digest=answer.weights_digest,
            tokenizer_digest=answer.tokenizer_digest,
            max_context_tokens=answer.max_context_tokens,
            precision=answer.precision,
            engine=answer.engine,
        )

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        """See `selfie.generation.engines.Engine.sample`."""
        request = engine_pb2.SampleRequest(
            prompts=[
                engine_pb2.TokenizedPrompt(prompt_ids=prompt.prompt_ids, seeds=prompt.seeds)
                for prompt in prompts
            ],
            parameters=engine_pb2.SamplingParameters(
                temperature=parameters.temperature,
                top_p=parameters.top_p,
                max_new_tokens=parameters.max_new_tokens,
            ),
            expected_weights_digest=weights_digest,
        )
        async with domain_errors():
            answer = await self._stub.Sample(request, timeout=self._timeout_s)
        return [[_sample(response) for response in prompt.responses] for prompt in answer.prompts]


def _sample(response: engine_pb2.SampledResponse) -> Sample:
    return Sample(
        response_ids=tuple(response.response_ids),
        text=response.text,
        finish_reason=_FINISH_REASONS[response.finish_reason],
        seed=response.seed,
    )
