"""Between the engine's messages and its own types."""

from selfie.engine.core import Identity
from selfie.engine.decoding import Prompt, Response
from selfie.engine.sampling import SamplingParameters
from selfie.models.chat import ChatTokenizer
from selfie.v1 import artifacts_pb2, engine_pb2

_FINISH_REASONS = {
    "stop": artifacts_pb2.FINISH_REASON_STOP,
    "length": artifacts_pb2.FINISH_REASON_LENGTH,
}


def prompts_of(request: engine_pb2.SampleRequest) -> list[Prompt]:
    """The prompts of a request, with their seeds."""
    return [Prompt(ids=tuple(one.prompt_ids), seeds=tuple(one.seeds)) for one in request.prompts]


def parameters_of(message: engine_pb2.SamplingParameters) -> SamplingParameters:
    """The parameters of a request."""
    return SamplingParameters(
        temperature=message.temperature, top_p=message.top_p, max_new_tokens=message.max_new_tokens
    )


def identity_message(identity: Identity) -> engine_pb2.GetEngineResponse:
    """The identity on the wire."""
    return engine_pb2.GetEngineResponse(
        weights_digest=identity.weights_digest,
        tokenizer_digest=identity.tokenizer_digest,
        max_context_tokens=identity.max_context_tokens,
        precision=identity.precision,
        engine=identity.engine,
    )


def response_message(response: Response, tokenizer: ChatTokenizer) -> engine_pb2.SampledResponse:
    """One response on the wire, with its text."""
    return engine_pb2.SampledResponse(
        response_ids=response.ids,
        finish_reason=_FINISH_REASONS[response.finish_reason],
        text=tokenizer.decode_response(response.ids),
        seed=response.seed,
    )
