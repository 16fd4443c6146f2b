"""How far a policy has moved from its reference, exactly, from both models' rows.

Estimates from samples drawn at another temperature are biased; the sum over the vocabulary is not.
"""

import numpy as np
from numpy.typing import ArrayLike

from selfie.method.arrays import FloatArray, floats, same_shape
from selfie.method.logspace import log_softmax


def kl_per_token(policy_logits: ArrayLike, reference_logits: ArrayLike) -> FloatArray:
    """KL(policy ‖ reference) of each position, in nats, at temperature 1.

    Both logits have shape [..., V] and are finite; the result has shape [...]. Never negative
    beyond rounding, 0 where the two distributions are equal.
    """
    policy, reference = log_softmax(policy_logits), log_softmax(reference_logits)
    same_shape("reference_logits", reference, policy)
    return floats((np.exp(policy) * (policy - reference)).sum(axis=-1))
