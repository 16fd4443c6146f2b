"""Which scores of a faster mode have to be made again, exactly, for every label to be that of `exact`.

A label is the order of two responses, or that they are tied. It is sure where the margin is farther from
both its turning points, zero and the tie band, than the errors of both modes together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from selfie.scoring.precision import IN_FLOAT32
from selfie.scoring.rewards import RewardRule, least_certain_two
from selfie.scoring.rows import PolicyScore, RowScore


@dataclass(frozen=True)
class Uncertain:
    """Indices of the responses to score again, and the number of pairs that ask for it."""

    responses: frozenset[int] = frozenset()
    pairs: int = 0


def uncertain(
    scores: Sequence[RowScore | PolicyScore], rule: RewardRule, *, tie_margin: float = 0.0
) -> Uncertain:
    """Of responses to one prompt, any two of which are a pair; those of no token are left out.

    If these are scored again, then all responses are ordered, and tied, as `exact` has them: a pair that
    was sure stays so when one side of it is replaced.
    """
    counted = [index for index, score in enumerate(scores) if score.tokens]
    exact = {i: rule.bound(scores[i].tokens, IN_FLOAT32.products) for i in counted}
    error = {i: exact[i] + rule.bound(scores[i].tokens, scores[i].arithmetic.products) for i in counted}
    rewards = {
        i: rule.reward(scores[i].policy_logprob, scores[i].reference_logprob, scores[i].tokens)
        for i in counted
    }
    band = max(tie_margin, least_certain_two(list(exact.values())))
    pairs = [
        (one, other)
        for one, other in combinations(counted, 2)
        if _is_unsure(abs(rewards[one] - rewards[other]), band, error[one] + error[other])
    ]
    # What is exact already would only come out the same.
    found = {index for pair in pairs for index in pair if scores[index].arithmetic != IN_FLOAT32}
    return Uncertain(frozenset(found), len(pairs) if found else 0)


def _is_unsure(margin: float, band: float, error: float) -> bool:
    return margin <= error or abs(margin - band) <= error
