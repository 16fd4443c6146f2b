"""Between the scoring service's messages and its own types."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from selfie.artifacts.manifests import ManifestRef
from selfie.method.choices import JudgeName, NormalizationName, PairingName
from selfie.scoring.answers import Comparison, Ranking, ScoredResponse
from selfie.scoring.core import Scorer
from selfie.scoring.judged import Judging
from selfie.scoring.kinds import KindName
from selfie.scoring.places import PairName
from selfie.scoring.precision import EXACT, AnyMode
from selfie.scoring.questions import Options, Prompt, Response, Truncation
from selfie.scoring.rewards import RewardRule
from selfie.scoring.tasks import Task, UnpublishedSamples
from selfie.v1 import scoring_pb2

DEFAULT_BETA = 0.1

_NORMALIZATIONS: Mapping[int, NormalizationName] = {
    scoring_pb2.NORMALIZATION_UNSPECIFIED: "sum",
    scoring_pb2.NORMALIZATION_SUM: "sum",
    scoring_pb2.NORMALIZATION_MEAN: "mean",
}
_TRUNCATIONS: Mapping[int, Truncation] = {
    scoring_pb2.TRUNCATION_UNSPECIFIED: "fail",
    scoring_pb2.TRUNCATION_FAIL: "fail",
    scoring_pb2.TRUNCATION_PROMPT_START: "prompt_start",
    scoring_pb2.TRUNCATION_RESPONSE_END: "response_end",
}
_MODES: Mapping[int, AnyMode | None] = {
    scoring_pb2.PRECISION_UNSPECIFIED: None,
    scoring_pb2.PRECISION_EXACT: "exact",
    scoring_pb2.PRECISION_BALANCED: "balanced",
    scoring_pb2.PRECISION_FAST: "fast",
    scoring_pb2.PRECISION_AUTO: "auto",
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
    return Prompt(turns, tuple(message.prompt_ids), message.text)


def response_of(message: scoring_pb2.ResponseInput) -> Response:
    """One response of a request."""
    return Response(message.text, tuple(message.response_ids))


def options_of(message: scoring_pb2.ScoringOptions) -> Options:
    """The options of a request, with the defaults of what is unset."""
    rule = RewardRule(beta=message.beta or DEFAULT_BETA, normalization=_NORMALIZATIONS[message.normalization])
    return Options(
        rule,
        tuple(message.lambdas),
        _TRUNCATIONS[message.truncation],
        message.tie_margin,
        _MODES[message.precision],
        _pair_of(message),
    )


def _pair_of(message: scoring_pb2.ScoringOptions) -> PairName | None:
    if not message.HasField("weights"):
        return None
    found = message.weights
    return PairName(found.policy, found.reference, found.policy_digest, found.reference_digest)


def task_of(request: scoring_pb2.ScoreDatasetRequest) -> Task:
    """What a batch request asks for, whatever its input is."""
    judging = Judging(
        rule=RewardRule(
            beta=request.beta,
            normalization=_NORMALIZATIONS[request.normalization],
            without_reference=request.without_reference,
        ),
        lam=getattr(request, "lambda"),
        judge=_JUDGES[request.judge],
        pairing=_PAIRINGS[request.pairing],
        finished_only=request.finished_only,
        random_seed=request.random_seed,
        # A run's labels do not depend on what a scorer was started with.
        precision=_MODES[request.precision] or EXACT,
    )
    return Task(
        group=request.group,
        kind=_KINDS[request.kind],
        policy_digest=request.policy.digest,
        reference_digest=request.reference.digest,
        judging=judging,
        divergence=request.measure_divergence,
        shard_rows=request.shard_rows,
        reference_scores=_reference_scores(request),
    )


def input_of(request: scoring_pb2.ScoreDatasetRequest) -> ManifestRef | UnpublishedSamples:
    """The data set, published or still being made."""
    if request.HasField("unpublished"):
        return UnpublishedSamples(request.unpublished.step, request.unpublished.attempt)
    return ManifestRef(path=request.input.path, sha256=request.input.sha256)


def _reference_scores(request: scoring_pb2.ScoreDatasetRequest) -> ManifestRef | None:
    if not request.HasField("reference_scores"):
        return None
    return ManifestRef(path=request.reference_scores.path, sha256=request.reference_scores.sha256)


def score_response(
    scores: Sequence[ScoredResponse], scorer: Scorer, options: scoring_pb2.ScoringOptions, rescored: int = 0
) -> scoring_pb2.ScoreResponse:
    """Scores on the wire."""
    return scoring_pb2.ScoreResponse(
        responses=[_scored(score, per_token=options.per_token) for score in scores],
        provenance=_provenance(scorer, options),
        rescored_pairs=rescored,
    )


def compare_response(
    comparison: Comparison, scorer: Scorer, options: scoring_pb2.ScoringOptions
) -> scoring_pb2.CompareResponse:
    """A comparison on the wire."""
    return scoring_pb2.CompareResponse(
        preference=_preference(comparison),
        probability=comparison.probability,
        calibrated_probability=comparison.calibrated,
        margin=comparison.margin,
        tie_band=comparison.tie_band,
        first=_scored(comparison.first, per_token=options.per_token),
        second=_scored(comparison.second, per_token=options.per_token),
        provenance=_provenance(scorer, options),
        rescored_pairs=comparison.rescored_pairs,
    )


def rank_response(
    ranking: Ranking, scorer: Scorer, options: scoring_pb2.ScoringOptions
) -> scoring_pb2.RankResponse:
    """A ranking on the wire."""
    return scoring_pb2.RankResponse(
        responses=[
            scoring_pb2.RankedResponse(
                index=ranked.index,
                rank=ranked.rank,
                best_probability=ranked.best_probability,
                calibrated_best_probability=ranked.calibrated,
                score=_scored(ranked.score, per_token=options.per_token),
            )
            for ranked in ranking.responses
        ],
        tie_band=ranking.tie_band,
        provenance=_provenance(scorer, options),
        rescored_pairs=ranking.rescored_pairs,
    )


def _scored(scored: ScoredResponse, *, per_token: bool) -> scoring_pb2.ScoredResponse:
    return scoring_pb2.ScoredResponse(
        policy_logprob=scored.policy_logprob,
        reference_logprob=scored.reference_logprob,
        reward=scored.reward,
        tokens=scored.tokens,
        extrapolated=[
            scoring_pb2.ExtrapolatedScore(
                **{"lambda": each.lam},
                logprob=each.logprob,
                reward=each.reward,
                error_bound=each.error_bound,
            )
            for each in scored.extrapolated
        ],
        error_bound=scored.error_bound,
        policy_token_logprobs=scored.policy_tokens.tolist() if per_token else (),
        reference_token_logprobs=scored.reference_tokens.tolist() if per_token else (),
        end_of_turn_scored=scored.ended,
        prompt_tokens=scored.prompt_tokens,
        prompt_tokens_cut=scored.prompt_cut,
        tokens_cut=scored.cut,
        precision=scored.precision,
    )


def _provenance(scorer: Scorer, options: scoring_pb2.ScoringOptions) -> scoring_pb2.Provenance:
    asked = scorer.settled(options_of(options)).precision or EXACT
    found = scoring_pb2.Provenance(
        **asdict(scorer.provenance) | {"precision": asked},
        template_digest=scorer.template_digest,
        products=scorer.engine.arithmetic(scorer.first_mode(asked)).products,
    )
    if scorer.calibration is not None:
        found.calibration.id = scorer.calibration.id
        found.calibration.slope = scorer.calibration.slope(options_of(options).rule)
        found.calibration.pairs = scorer.calibration.pairs
    return found


def _preference(comparison: Comparison) -> "scoring_pb2.Preference.ValueType":
    if comparison.tie:
        return scoring_pb2.PREFERENCE_TIE
    return scoring_pb2.PREFERENCE_FIRST if comparison.margin > 0 else scoring_pb2.PREFERENCE_SECOND
