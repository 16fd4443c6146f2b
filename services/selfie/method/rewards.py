"""The implicit reward: what a policy's own log-probabilities say about a response.

A policy trained with DPO against a reference is itself a reward model (arXiv 2305.18290); the
method judges its own responses with it (arXiv 2406.04412).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from selfie.errors import InvalidInput
from selfie.method.arrays import FloatArray, floats
from selfie.method.choices import NormalizationName
from selfie.method.logspace import sigmoid

Normalization: TypeAlias = Callable[[ArrayLike, ArrayLike], FloatArray]


def implicit_reward(policy_logprob: ArrayLike, reference_logprob: ArrayLike, *, beta: float) -> FloatArray:
    """β · (log π(y|x) − log π_ref(y|x)) for each response.

    Both arguments are sums over response tokens, in nats, of one shape; so is the result.
    ``beta`` > 0 scales rewards and probabilities, and changes no label.
    """
    if not beta > 0:
        raise InvalidInput("beta", f"is {beta}", "choose a value above 0, for example 0.1")
    return floats(beta * (floats(policy_logprob) - floats(reference_logprob)))


def preference_probability(margin: ArrayLike) -> FloatArray:
    """Probability that the first response is better, from its reward less that of the second."""
    return sigmoid(margin)


def confidence(probability: ArrayLike) -> FloatArray:
    """How sure a preference probability is: 0 at one half, 1 at either end."""
    return floats(2.0 * np.abs(floats(probability) - 0.5))


def summed(reward: ArrayLike, _tokens: ArrayLike) -> FloatArray:
    """The method's own judge: the reward as it is, which grows with the response."""
    return floats(reward)


def per_token(reward: ArrayLike, tokens: ArrayLike) -> FloatArray:
    """Reward per response token, in favour of no length; 0 for a response of no token."""
    return floats(floats(reward) / np.maximum(floats(tokens), 1.0))


NORMALIZATIONS: Mapping[NormalizationName, Normalization] = MappingProxyType(
    {"sum": summed, "mean": per_token}
)
