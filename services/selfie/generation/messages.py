"""Between the generation service's messages and its own types."""

from selfie.artifacts.manifests import ManifestRef
from selfie.generation.dataset import DatasetJob
from selfie.generation.engines import EngineIdentity, Sample, SamplingParameters
from selfie.generation.policies import PublishedWeights
from selfie.runs.method_fields import EngineName
from selfie.v1 import artifacts_pb2, engine_pb2, generation_pb2

_FINISH_REASONS = {
    "stop": artifacts_pb2.FINISH_REASON_STOP,
    "length": artifacts_pb2.FINISH_REASON_LENGTH,
}

_ENGINE_KINDS: dict[int, EngineName] = {
    generation_pb2.ENGINE_KIND_EMBEDDED: "embedded",
    generation_pb2.ENGINE_KIND_TGI: "tgi",
    generation_pb2.ENGINE_KIND_OPENAI: "openai",
}


def kind_of(
    request: generation_pb2.GenerateDatasetRequest | generation_pb2.VerifyEngineRequest,
) -> EngineName | None:
    """The kind of engine that a request means; None for whatever is fronted."""
    return _ENGINE_KINDS.get(request.engine)


def parameters_of(message: engine_pb2.SamplingParameters) -> SamplingParameters:
    """The parameters of a request."""
    return SamplingParameters(
        temperature=message.temperature, top_p=message.top_p, max_new_tokens=message.max_new_tokens
    )


def weights_of(message: artifacts_pb2.Weights) -> PublishedWeights:
    """The checkpoint that a request means."""
    return PublishedWeights(message.step, message.group, message.digest)


def job_of(request: generation_pb2.GenerateDatasetRequest) -> DatasetJob:
    """What a batch request asks for."""
    return DatasetJob(
        prompts=ManifestRef(path=request.prompts.path, sha256=request.prompts.sha256),
        group=request.group,
        policy_digest=request.policy.digest,
        samples_per_prompt=request.samples_per_prompt,
        parameters=parameters_of(request.parameters),
        random_seed=request.random_seed,
        shard_rows=request.shard_rows,
        allow_retokenized=request.allow_retokenized,
    )


def identity_message(identity: EngineIdentity) -> engine_pb2.GetEngineResponse:
    """Who an engine is, on the wire."""
    return engine_pb2.GetEngineResponse(
        weights_digest=identity.weights_digest,
        tokenizer_digest=identity.tokenizer_digest,
        max_context_tokens=identity.max_context_tokens,
        precision=identity.precision,
        engine=identity.engine,
    )


def sample_message(sample: Sample) -> engine_pb2.SampledResponse:
    """One sample on the wire."""
    return engine_pb2.SampledResponse(
        response_ids=sample.response_ids,
        finish_reason=_FINISH_REASONS[sample.finish_reason],
        text=sample.text,
        seed=sample.seed,
    )
