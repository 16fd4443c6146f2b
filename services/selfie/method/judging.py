"""Judges: what gives the responses to one prompt their scores.

``implicit`` is the method's own; ``longest`` and ``random`` are the controls without which nobody
knows that the self-made labels helped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from selfie.method.arrays import FloatArray, floats
from selfie.method.choices import JudgeName, NormalizationName
from selfie.method.rewards import NORMALIZATIONS, implicit_reward


@dataclass(frozen=True, eq=False)
class Candidates:
    """The N responses to one prompt, as a judge sees them."""

    policy_logprobs: FloatArray
    """Sums over response tokens under the policy, in nats; shape [N]."""
    reference_logprobs: FloatArray
    """The same under the judge's reference."""
    tokens: FloatArray
    """Response tokens of each, shape [N]."""
    beta: float
    normalization: NormalizationName


Judge: TypeAlias = Callable[[Candidates, np.random.Generator], FloatArray]


def implicit(candidates: Candidates, _rng: np.random.Generator) -> FloatArray:
    """Implicit reward of each response, normalised as asked; shape [N]."""
    rewards = implicit_reward(candidates.policy_logprobs, candidates.reference_logprobs, beta=candidates.beta)
    return NORMALIZATIONS[candidates.normalization](rewards, candidates.tokens)


def longest(candidates: Candidates, _rng: np.random.Generator) -> FloatArray:
    """Length of each response in tokens; shape [N]. Exact: only equal lengths are ties."""
    return floats(candidates.tokens)


def at_random(candidates: Candidates, rng: np.random.Generator) -> FloatArray:
    """A uniform draw in [0, 1) for each response; shape [N]. Exact: there are no ties."""
    return floats(rng.random(len(candidates.tokens)))


JUDGES: Mapping[JudgeName, Judge] = MappingProxyType(
    {"implicit": implicit, "longest": longest, "random": at_random}
)
