"""Log-probabilities of a model extrapolated beyond the policy, away from its reference.

The extrapolated model adds logits before the softmax: (1 + λ)·h_policy − λ·h_reference
(de-coupled noise detection, arXiv 2406.04412). Its log-probability of a token is
(1 + λ)·log π − λ·log π_ref − log Z with one normaliser log Z per position, so one log-sum-exp
over both models' rows is all that extrapolation costs.
"""

from numpy.typing import ArrayLike

from selfie.errors import InvalidInput
from selfie.method.arrays import FloatArray, floats, same_shape
from selfie.method.logspace import log_softmax, logsumexp


def log_partition(policy_logits: ArrayLike, reference_logits: ArrayLike, lam: float) -> FloatArray:
    """Log Z of each position, in nats: log Σ_v π(v)^(1+λ) · π_ref(v)^(−λ).

    Both logits have shape [..., V] and are finite; the result has shape [...]. It equals λ times
    the Rényi divergence of order 1 + λ of the policy from the reference, so it is never negative
    (beyond rounding), and 0 where λ = 0 or the two models agree.
    """
    policy, reference = log_softmax(policy_logits), log_softmax(reference_logits)
    same_shape("reference_logits", reference, policy)
    strength = _strength(lam)
    return logsumexp((1.0 + strength) * policy - strength * reference)


def extrapolated_logprob(
    policy_logprob: ArrayLike, reference_logprob: ArrayLike, log_z_sum: ArrayLike, lam: float
) -> FloatArray:
    """Log-probability, in nats, of each response under the extrapolated model.

    The first three arguments are sums over the same response tokens, of one shape.
    """
    strength = _strength(lam)
    ahead = (1.0 + strength) * floats(policy_logprob) - strength * floats(reference_logprob)
    return floats(ahead - floats(log_z_sum))


def extrapolated_margin(
    margin: ArrayLike, chosen_log_z: ArrayLike, rejected_log_z: ArrayLike, *, beta: float, lam: float
) -> FloatArray:
    """Margin of the extrapolated model's summed rewards, from the policy's own ``margin``.

    (1 + λ)·m − β·(Σ log Z over the chosen response − Σ log Z over the rejected one); all
    arguments are per pair, of one shape, and the margin is β-scaled.
    """
    drift = floats(chosen_log_z) - floats(rejected_log_z)
    return floats((1.0 + _strength(lam)) * floats(margin) - beta * drift)


def _strength(lam: float) -> float:
    if not lam >= 0:
        raise InvalidInput("lambda", f"is {lam}", "choose 0 (no extrapolation) or more")
    return lam
