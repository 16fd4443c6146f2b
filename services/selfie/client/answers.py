"""Answers as Python's own values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from selfie.v1 import scoring_pb2

Preferred = Literal["first", "second", "tie"]

_PREFERRED: Mapping[int, Preferred] = {
    scoring_pb2.PREFERENCE_FIRST: "first",
    scoring_pb2.PREFERENCE_SECOND: "second",
    scoring_pb2.PREFERENCE_TIE: "tie",
}


@dataclass(frozen=True)
class Extrapolated:
    """Log-probability in nats, and reward, of the model extrapolated by ``lam`` beyond the policy."""

    lam: float
    logprob: float
    reward: float
    error_bound: float


@dataclass(frozen=True)
class Score:
    """Sums over ``tokens`` response tokens, in nats, each at most ``error_bound`` from the true value."""

    policy_logprob: float
    reference_logprob: float
    reward: float
    tokens: int
    error_bound: float
    end_of_turn_scored: bool
    prompt_tokens: int
    prompt_tokens_cut: int
    tokens_cut: int
    precision: str
    extrapolated: tuple[Extrapolated, ...] = ()
    policy_token_logprobs: tuple[float, ...] = field(default=(), repr=False)
    reference_token_logprobs: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Calibration:
    """The fit behind calibrated probabilities: sigmoid(slope · margin), on ``pairs`` labelled pairs."""

    id: str
    slope: float
    pairs: int


@dataclass(frozen=True)
class Provenance:
    """What the numbers rest on."""

    policy_digest: str
    reference_digest: str
    tokenizer_digest: str
    template_digest: str
    precision: str
    products: str
    calibration: Calibration | None


@dataclass(frozen=True)
class Scores:
    """One score for each response, in their order; ``rescored_pairs`` of them `auto` scored again."""

    responses: tuple[Score, ...]
    provenance: Provenance
    rescored_pairs: int = 0


@dataclass(frozen=True)
class Comparison:
    """Which response is preferred, how surely; a margin up to ``tie_band`` is a tie."""

    preferred: Preferred
    probability: float
    margin: float
    tie_band: float
    first: Score
    second: Score
    provenance: Provenance
    calibrated_probability: float | None = None
    rescored_pairs: int = 0


@dataclass(frozen=True)
class Ranked:
    """A response in its place; ``index`` is its position in the request, ``rank`` 1 is best."""

    index: int
    rank: int
    best_probability: float
    score: Score
    calibrated_best_probability: float | None = None


@dataclass(frozen=True)
class Ranking:
    """Best first; those within ``tie_band`` of the one above share its rank."""

    responses: tuple[Ranked, ...]
    tie_band: float
    provenance: Provenance
    rescored_pairs: int = 0


def scores_of(message: scoring_pb2.ScoreResponse) -> Scores:
    """The answer to `Score`."""
    scores = tuple(map(_score, message.responses))
    return Scores(scores, _provenance(message.provenance), message.rescored_pairs)


def comparison_of(message: scoring_pb2.CompareResponse) -> Comparison:
    """The answer to `Compare`."""
    calibrated = message.HasField("calibrated_probability")
    return Comparison(
        preferred=_PREFERRED[message.preference],
        probability=message.probability,
        margin=message.margin,
        tie_band=message.tie_band,
        first=_score(message.first),
        second=_score(message.second),
        provenance=_provenance(message.provenance),
        calibrated_probability=message.calibrated_probability if calibrated else None,
        rescored_pairs=message.rescored_pairs,
    )


def ranking_of(message: scoring_pb2.RankResponse) -> Ranking:
    """The answer to `Rank`."""
    ranked = tuple(map(_ranked, message.responses))
    return Ranking(ranked, message.tie_band, _provenance(message.provenance), message.rescored_pairs)


def _ranked(message: scoring_pb2.RankedResponse) -> Ranked:
    calibrated = message.HasField("calibrated_best_probability")
    return Ranked(
        index=message.index,
        rank=message.rank,
        best_probability=message.best_probability,
        score=_score(message.score),
        calibrated_best_probability=message.calibrated_best_probability if calibrated else None,
    )


def _score(message: scoring_pb2.ScoredResponse) -> Score:
    return Score(
        policy_logprob=message.policy_logprob,
        reference_logprob=message.reference_logprob,
        reward=message.reward,
        tokens=message.tokens,
        error_bound=message.error_bound,
        end_of_turn_scored=message.end_of_turn_scored,
        prompt_tokens=message.prompt_tokens,
        prompt_tokens_cut=message.prompt_tokens_cut,
        tokens_cut=message.tokens_cut,
        precision=message.precision,
        extrapolated=tuple(
            Extrapolated(getattr(each, "lambda"), each.logprob, each.reward, each.error_bound)
            for each in message.extrapolated
        ),
        policy_token_logprobs=tuple(message.policy_token_logprobs),
        reference_token_logprobs=tuple(message.reference_token_logprobs),
    )


def _provenance(message: scoring_pb2.Provenance) -> Provenance:
    found = message.calibration
    return Provenance(
        policy_digest=message.policy_digest,
        reference_digest=message.reference_digest,
        tokenizer_digest=message.tokenizer_digest,
        template_digest=message.template_digest,
        precision=message.precision,
        products=message.products,
        calibration=Calibration(found.id, found.slope, found.pairs)
        if message.HasField("calibration")
        else None,
    )
