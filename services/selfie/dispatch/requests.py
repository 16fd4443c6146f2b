"""Requests of the batch methods, made from a SelfieRun."""

from typing import Any

from selfie.dispatch.calls import StepCall
from selfie.runs.lineage import PREVIOUS, REFERENCE_SCORES, Source
from selfie.runs.resolving import settings_of
from selfie.runs.steps import ahead_of
from selfie.v1 import engine_pb2, filtering_pb2, generation_pb2, scoring_pb2

# Shards are what a crash costs at most: small enough to be redone, large enough to batch well.
RESPONSES_PER_SHARD = 64
PAIRS_PER_SHARD = 64

_ENGINES = {
    "embedded": generation_pb2.ENGINE_KIND_EMBEDDED,
    "tgi": generation_pb2.ENGINE_KIND_TGI,
    "openai": generation_pb2.ENGINE_KIND_OPENAI,
}
_NORMALIZATIONS = {"sum": scoring_pb2.NORMALIZATION_SUM, "mean": scoring_pb2.NORMALIZATION_MEAN}
_JUDGES = {
    "implicit": scoring_pb2.JUDGE_IMPLICIT,
    "longest": scoring_pb2.JUDGE_LONGEST,
    "random": scoring_pb2.JUDGE_RANDOM,
}
_PAIRINGS = {
    "best_worst": scoring_pb2.PAIRING_BEST_WORST,
    "best_random": scoring_pb2.PAIRING_BEST_RANDOM,
    "random": scoring_pb2.PAIRING_RANDOM,
}
_ACTIONS = {
    "smooth": filtering_pb2.NOISE_ACTION_SMOOTH,
    "drop": filtering_pb2.NOISE_ACTION_DROP,
    "keep": filtering_pb2.NOISE_ACTION_KEEP,
}
_CUTS = {
    "dropCutResponses": filtering_pb2.CUT_POLICY_DROP_CUT_RESPONSES,
    "dropCutWinners": filtering_pb2.CUT_POLICY_DROP_CUT_WINNERS,
    "dropBothCut": filtering_pb2.CUT_POLICY_DROP_BOTH_CUT,
    "keep": filtering_pb2.CUT_POLICY_KEEP,
}


def generate_dataset(call: StepCall) -> generation_pb2.GenerateDatasetRequest:
    """For `generate`, `evaluate-samples` and `evaluate-initial`."""
    spec = call.run.spec
    samples = _samples(call)
    return generation_pb2.GenerateDatasetRequest(
        request_id=call.request_id,
        attempt=call.attempt_message(),
        prompts=call.manifest("prompts"),
        group=call.inputs["prompts"].source.group,
        policy=call.weights("policy"),
        samples_per_prompt=samples,
        parameters=engine_pb2.SamplingParameters(
            temperature=float(spec.generation.temperature),
            top_p=float(spec.generation.top_p),
            max_new_tokens=spec.generation.max_new_tokens,
        ),
        random_seed=call.random_seed(),
        shard_rows=max(RESPONSES_PER_SHARD // samples, 1),
        allow_retokenized=spec.generation.allow_retokenized,
        engine=_ENGINES[spec.generation.engine],
    )


def _samples(call: StepCall) -> int:
    spec, name = call.run.spec, call.step.name
    return spec.evaluation.samples if name.startswith("evaluate") else spec.generation.samples_per_prompt


def verify_engine(call: StepCall) -> generation_pb2.VerifyEngineRequest:
    """For `serve`."""
    return generation_pb2.VerifyEngineRequest(
        attempt=call.attempt_message(),
        policy=call.weights("policy"),
        engine=_ENGINES[call.run.spec.generation.engine],
        previous=call.weights(PREVIOUS) if PREVIOUS in call.inputs else None,
    )


def score_dataset(call: StepCall) -> scoring_pb2.ScoreDatasetRequest:
    """For `score`, `evaluate-heldout` and `evaluate-measures`."""
    role = "pairs" if call.step.name == "evaluate-heldout" else "samples"
    request = _scoring(call)
    request.input.CopyFrom(call.manifest(role))
    request.group = call.inputs[role].source.group
    return request


def score_ahead(call: StepCall, source: Source) -> scoring_pb2.ScoreDatasetRequest:
    """For `score` while ``source`` is being made, by the attempt that has the call's number."""
    request = _scoring(call)
    request.request_id = call.ahead_id
    request.attempt.step = ahead_of(call.step.path)
    request.unpublished.CopyFrom(scoring_pb2.UnpublishedSamples(step=source.step, attempt=call.attempt))
    request.group = source.group
    return request


def _scoring(call: StepCall) -> scoring_pb2.ScoreDatasetRequest:
    """All but what is to be scored."""
    spec = call.run.spec
    labelled = call.step.name == "evaluate-heldout"
    training = call.step.name == "score"
    kind = scoring_pb2.DATASET_KIND_PREFERENCES if labelled else scoring_pb2.DATASET_KIND_SAMPLES
    # Held-out pairs are judged as the method judges; only self-made labels are doubted by extrapolation.
    strength: Any = {"lambda": 0.0 if labelled else settings_of(spec, call.step.round).scoring_lambda}
    return scoring_pb2.ScoreDatasetRequest(
        request_id=call.request_id,
        attempt=call.attempt_message(),
        kind=kind,
        policy=call.weights("policy"),
        reference=call.weights("reference"),
        without_reference=spec.scoring.reference == "none",
        beta=float(spec.scoring.beta),
        **strength,
        normalization=_NORMALIZATIONS[spec.scoring.length_normalization],
        # What is measured is always the judge of the method, whatever labels the rounds.
        judge=_JUDGES[spec.scoring.judge] if training else scoring_pb2.JUDGE_IMPLICIT,
        pairing=_PAIRINGS[spec.scoring.pairing],
        finished_only=training and spec.filter.cut == "dropCutResponses",
        measure_divergence=call.step.name == "evaluate-measures",
        random_seed=call.random_seed(),
        shard_rows=PAIRS_PER_SHARD if labelled else max(RESPONSES_PER_SHARD // _samples(call), 1),
        reference_scores=call.manifest(REFERENCE_SCORES) if REFERENCE_SCORES in call.inputs else None,
    )


def filter_dataset(call: StepCall) -> filtering_pb2.FilterDatasetRequest:
    """For `filter`."""
    rules = call.run.spec.filter
    return filtering_pb2.FilterDatasetRequest(
        request_id=call.request_id,
        attempt=call.attempt_message(),
        input=call.manifest("pairs"),
        rules=filtering_pb2.FilterRules(
            noisy_percent=rules.noisy_percent,
            smoothing=float(rules.smoothing),
            action=_ACTIONS[rules.action],
            cut=_CUTS[rules.cut],
            keep_ties=rules.ties == "keep",
            keep_duplicates=rules.duplicates == "keep",
        ),
    )
