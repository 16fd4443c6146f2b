"""What can be answered: plain values, and how they follow from log-probabilities.

Rewards and margins here are the requested ones. A calibrated probability stands beside the raw one
wherever the weights have a calibration, and never in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from selfie.method.rewards import preference_probability
from selfie.scoring.precision import AUTO, Mode
from selfie.scoring.questions import Asked, Options
from selfie.scoring.rows import Floats, RowScore


@dataclass(frozen=True)
class Extrapolated:
    """Sum of log-probabilities, in nats, and reward under the model extrapolated by ``lam``."""

    lam: float
    logprob: float
    reward: float
    error_bound: float


@dataclass(frozen=True)
class ScoredResponse:
    """Sums in nats over ``tokens`` response tokens; ``reward`` is normalised as asked.

    ``precision`` is the mode that it was scored in, with the bounds of its sums and of its reward.
    ``ended``: the last scored token ends the turn. ``prompt_cut`` and ``cut`` tokens were left out at
    the prompt's start and at the response's end.
    """

    policy_logprob: float
    reference_logprob: float
    reward: float
    tokens: int
    extrapolated: tuple[Extrapolated, ...]
    error_bound: float
    ended: bool
    prompt_tokens: int
    prompt_cut: int
    cut: int
    reward_bound: float
    precision: Mode
    policy_tokens: Floats = field(repr=False)
    reference_tokens: Floats = field(repr=False)


@dataclass(frozen=True)
class Comparison:
    """``margin`` is the first's reward less the second's; up to ``tie_band`` it says nothing."""

    first: ScoredResponse
    second: ScoredResponse
    margin: float
    probability: float
    tie_band: float
    calibrated: float | None = None
    rescored_pairs: int = 0

    @property
    def tie(self) -> bool:
        return abs(self.margin) <= self.tie_band


@dataclass(frozen=True)
class Ranked:
    """``rank`` 1 is best; ``index`` is the position in the request."""

    index: int
    rank: int
    best_probability: float
    score: ScoredResponse
    calibrated: float | None = None


@dataclass(frozen=True)
class Ranking:
    """Best first; rewards closer than ``tie_band`` to the one above share its rank."""

    responses: tuple[Ranked, ...]
    tie_band: float
    rescored_pairs: int = 0


def scored(asked: Asked, scores: Sequence[RowScore], options: Options) -> list[ScoredResponse]:
    """The answer for each row that was asked, in their order."""
    return [_scored(asked, index, score, options) for index, score in enumerate(scores)]


def compared(
    first: ScoredResponse,
    second: ScoredResponse,
    options: Options,
    slope: float | None = None,
    *,
    rescored: int = 0,
) -> Comparison:
    """Which of two responses is preferred; ``slope`` calibrates margins."""
    margin = first.reward - second.reward
    return Comparison(
        first,
        second,
        margin,
        probability=float(preference_probability(margin)),
        tie_band=options.tie_band((first.reward_bound, second.reward_bound)),
        calibrated=None if slope is None else float(preference_probability(slope * margin)),
        rescored_pairs=rescored,
    )


def ranked(
    scores: Sequence[ScoredResponse], options: Options, slope: float | None = None, *, rescored: int = 0
) -> Ranking:
    """The responses, best first; one tie band for all, that of the two least certain rewards.

    In mode `auto` that is the band of `exact`, as whatever might be tied was scored so.
    """
    exactly = options.precision == AUTO
    band = options.tie_band(
        [options.rule.bound(score.tokens) if exactly else score.reward_bound for score in scores]
    )
    rewards = np.array([score.reward for score in scores])
    chances = _chances(rewards)
    calibrated = None if slope is None else _chances(slope * rewards)
    found: list[Ranked] = []
    for place, index in enumerate(np.argsort(-rewards, kind="stable"), start=1):
        above = found[-1] if found else None
        shared = above is not None and above.score.reward - rewards[index] <= band
        found.append(
            Ranked(
                index=int(index),
                rank=above.rank if above is not None and shared else place,
                best_probability=float(chances[index]),
                score=scores[index],
                calibrated=None if calibrated is None else float(calibrated[index]),
            )
        )
    return Ranking(tuple(found), band, rescored)


def _scored(asked: Asked, index: int, score: RowScore, options: Options) -> ScoredResponse:
    policy, reference, tokens = score.policy_logprob, score.reference_logprob, score.tokens
    bound = score.arithmetic.error_bound
    logprobs = [score.extrapolated_logprob(place, lam) for place, lam in enumerate(options.lambdas)]
    return ScoredResponse(
        policy_logprob=policy,
        reference_logprob=reference,
        reward=options.rule.reward(policy, reference, tokens),
        tokens=tokens,
        extrapolated=tuple(
            Extrapolated(
                lam, logprob, options.rule.reward(logprob, reference, tokens), bound(tokens, lam=lam)
            )
            for lam, logprob in zip(options.lambdas, logprobs, strict=True)
        ),
        error_bound=bound(tokens),
        ended=asked.ended[index],
        prompt_tokens=len(asked.rows[index].prompt_ids),
        prompt_cut=asked.prompt_cut,
        cut=asked.cut[index],
        reward_bound=options.rule.bound(tokens, score.arithmetic.products),
        precision=score.arithmetic.mode,
        policy_tokens=score.policy_tokens,
        reference_tokens=score.reference_tokens,
    )


def _chances(rewards: Floats) -> Floats:
    """Of each that it is the best one: softmax over the rewards."""
    odds: Floats = np.exp(rewards - rewards.max())
    chances: Floats = odds / odds.sum()
    return chances
