"""Exponentials and logarithms that neither overflow nor lose small probabilities."""

import numpy as np
from numpy.typing import ArrayLike

from selfie.method.arrays import FloatArray, floats


def logsumexp(values: ArrayLike) -> FloatArray:
    """Log Σ exp over the last axis: shape [..., V] to [...]. All values are finite."""
    array = floats(values)
    top = array.max(axis=-1, keepdims=True)
    return floats(top[..., 0] + np.log(np.exp(array - top).sum(axis=-1)))


def log_softmax(logits: ArrayLike) -> FloatArray:
    """Log-probabilities, in nats, over the last axis: shape [..., V] to [..., V]."""
    array = floats(logits)
    shifted = array - array.max(axis=-1, keepdims=True)
    return floats(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def sigmoid(values: ArrayLike) -> FloatArray:
    """1 / (1 + exp(−x)), with full relative precision at both ends."""
    array = floats(values)
    decay = np.exp(-np.abs(array))
    return floats(np.where(array >= 0, 1.0, decay) / (1.0 + decay))


def log_sigmoid(values: ArrayLike) -> FloatArray:
    """Log σ(x), never −inf for a finite x."""
    return floats(-np.logaddexp(0.0, -floats(values)))
