"""The noise-aware preference loss, in float64: what a trainer's own loss is checked against.

For a pair whose label is taken to be noisy, a share α of the opposite label is mixed in
(arXiv 2406.04412; smoothing as in conservative DPO, not the unbiased "robust" form). Nothing is
differentiated through the decision that a pair is noisy.
"""

from numpy.typing import ArrayLike

from selfie.method.arrays import FloatArray, floats, within
from selfie.method.logspace import log_sigmoid, sigmoid


def soft_labels(noisy: ArrayLike, *, smoothing: float) -> FloatArray:
    """Probability that each label is right, as training takes it: 1 − α if noisy, else 1."""
    return floats(1.0 - within("smoothing", smoothing, 0.0, 0.5) * floats(noisy))


def noise_aware_loss(margin: ArrayLike, *, smoothing: float, noisy: ArrayLike) -> FloatArray:
    """−s·log σ(m) − (1 − s)·log σ(−m) for each pair, with soft label s.

    ``margin`` is the learner's β-scaled training margin (chosen less rejected), ``noisy`` has its
    shape and holds booleans. Without noisy pairs this is the DPO loss. Equivalently
    −log σ(m) + α·z·m. `InvalidInput` unless 0 ≤ ``smoothing`` ≤ 0.5.
    """
    label = soft_labels(noisy, smoothing=smoothing)
    return floats(-label * log_sigmoid(margin) - (1.0 - label) * log_sigmoid(-floats(margin)))


def noise_aware_gradient(margin: ArrayLike, *, smoothing: float, noisy: ArrayLike) -> FloatArray:
    """Derivative of `noise_aware_loss` by the margin, for each pair: −(σ(−m) − α·z)."""
    opposite = 1.0 - soft_labels(noisy, smoothing=smoothing)
    return floats(opposite - sigmoid(-floats(margin)))
