"""Between the scoring service's messages and its own types."""

from collections.abc import Mapping

from selfie.artifacts.manifests import ManifestRef
from selfie.method.choices import JudgeName, NormalizationName, PairingName
from selfie.scoring.core import Comparison, Options, Prompt, Provenance, Ranking, Response, ScoredResponse
from selfie.scoring.dataset import Task
from selfie.scoring.judged import Judging
from selfie.scoring.kinds import KindName
from selfie.scoring.rewards import RewardRule
from selfie.v1 import scoring_pb2

DEFAULT_BETA = 0.1

_NORMALIZATIONS: Mapping[int, NormalizationName] = {
    scoring_pb2.NORMALIZATION_UNSPECIFIED: "sum",
    scoring_pb2.NORMALIZATION_SUM: "sum",
    scoring_pb2.NORMALIZATION_MEAN: "mean",
}
_JUDGES: Mapping[int, JudgeName] = {
    scoring_pb2.JUDGE_IMPLICIT: "implicit",
    scoring_pb2.JUDGE_LONGEST: "longest",
    scoring_pb2.JUDGE_RANDOM: "random",
}
_PAIRINGS: Mapping[int, PairingName] = {
    scoring_pb2.PAIRING_UNSPECIFIED: "best_worst",
    scoring_pb2.PAIRING_BEST_WORST: "best_worst",
    scoring_pb2.PAIRING_BEST_RANDOM: "best_random",
    scoring_pb2.PAIRING_RANDOM: "random",
}
_KINDS: Mapping[int, KindName] = {
    scoring_pb2.DATASET_KIND_SAMPLES: "samples",
    scoring_pb2.DATASET_KIND_PREFERENCES: "preferences",
}


def prompt_of(message: scoring_pb2.PromptInput) -> Prompt:
    """The prompt of a request."""
    turns = tuple((turn.role, turn.content) for turn in message.messages)
    return Prompt(turns, tuple(message.prompt_ids))


def response_of(message: scoring_pb2.ResponseInput) -> Response:
    """One response of a request."""
    return Response(message.text, tuple(message.response_ids))


def options_of(message: scoring_pb2.ScoringOptions) -> Options:
    """The options of a request, with the defaults of what is unset."""
    rule = RewardRule(beta=message.beta or DEFAULT_BETA, normalization=_NORMALIZATIONS[message.normalization])
    return Options(rule, tuple(message.lambdas))


def task_of(request: scoring_pb2.ScoreDatasetRequest) -> Task:
    """What a batch request asks for."""
    judging = Judging(
        rule=RewardRule(
            beta=request.beta,
            normalization=_NORMALIZATIONS[request.normalization],
            without_reference=request.without_reference,
        ),
        lam=getattr(request, "lambda"),
        judge=_JUDGES[request.judge],
        pairing=_PAIRINGS[request.pairing],
        random_seed=request.random_seed,
    )
    return Task(
        input=ManifestRef(path=request.input.path, sha256=request.input.sha256),
        group=request.group,
        kind=_KINDS[request.kind],
        policy_digest=request.policy.digest,
        reference_digest=request.reference.digest,
        judging=judging,
        divergence=request.measure_divergence,
        shard_rows=request.shard_rows,
        reference_scores=_reference_scores(request),
    )


def _reference_scores(request: scoring_pb2.ScoreDatasetRequest) -> ManifestRef | None:
    if not request.HasField("reference_scores"):
        return None
    return ManifestRef(path=request.reference_scores.path, sha256=request.reference_scores.sha256)


def provenance_message(provenance: Provenance) -> scoring_pb2.Provenance:
    """What the numbers rest on, on the wire."""
    return scoring_pb2.Provenance(
        policy_digest=provenance.policy_digest,
        reference_digest=provenance.reference_digest,
        tokenizer_digest=provenance.tokenizer_digest,
        precision=provenance.precision,
    )


def scored_message(scored: ScoredResponse, *, per_token: bool) -> scoring_pb2.ScoredResponse:
    """One response's scores on the wire."""
    return scoring_pb2.ScoredResponse(
        policy_logprob=scored.policy_logprob,
        reference_logprob=scored.reference_logprob,
        reward=scored.reward,
        tokens=scored.tokens,
        extrapolated=[
            scoring_pb2.ExtrapolatedScore(**{"lambda": e.lam}, logprob=e.logprob, reward=e.reward)
            for e in scored.extrapolated
        ],
        error_bound=scored.error_bound,
        policy_token_logprobs=scored.policy_tokens.tolist() if per_token else (),
        reference_token_logprobs=scored.reference_tokens.tolist() if per_token else (),
    )


def compare_response(
    comparison: Comparison, provenance: Provenance, *, per_token: bool
) -> scoring_pb2.CompareResponse:
    """A comparison on the wire."""
    return scoring_pb2.CompareResponse(
        preference=_preference(comparison),
        probability=comparison.probability,
        margin=comparison.margin,
        tie_band=comparison.tie_band,
        first=scored_message(comparison.first, per_token=per_token),
        second=scored_message(comparison.second, per_token=per_token),
        provenance=provenance_message(provenance),
    )


def rank_response(ranking: Ranking, provenance: Provenance, *, per_token: bool) -> scoring_pb2.RankResponse:
    """A ranking on the wire."""
    return scoring_pb2.RankResponse(
        responses=[
            scoring_pb2.RankedResponse(
                index=ranked.index,
                rank=ranked.rank,
                best_probability=ranked.best_probability,
                score=scored_message(ranked.score, per_token=per_token),
            )
            for ranked in ranking.responses
        ],
        tie_band=ranking.tie_band,
        provenance=provenance_message(provenance),
    )


def _preference(comparison: Comparison) -> "scoring_pb2.Preference.ValueType":
    if comparison.tie:
        return scoring_pb2.PREFERENCE_TIE
    return scoring_pb2.PREFERENCE_FIRST if comparison.margin > 0 else scoring_pb2.PREFERENCE_SECOND
