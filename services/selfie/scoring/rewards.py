"""How a response's log-probabilities become its reward, and how far two rewards must differ to count."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from selfie.method.choices import NormalizationName
from selfie.method.rewards import NORMALIZATIONS, implicit_reward
from selfie.scoring.precision import Products, error_bound


@dataclass(frozen=True, kw_only=True)
class RewardRule:
    """The implicit reward: beta times the log-ratio, as a sum over the response's tokens or their mean.

    With ``without_reference`` it is beta times the policy's own log-probability.
    """

    beta: float = 0.1
    normalization: NormalizationName = "sum"
    without_reference: bool = False

    @property
    def per_token(self) -> "RewardRule":
        """The same rule, in favour of no length."""
        return replace(self, normalization="mean")

    def baseline(self, reference_logprob: float) -> float:
        """What a log-probability is held against, in nats."""
        return 0.0 if self.without_reference else reference_logprob

    def reward(self, logprob: float, reference_logprob: float, tokens: int) -> float:
        """Reward of a response of ``tokens`` tokens, from its sums in nats."""
        summed = implicit_reward(logprob, self.baseline(reference_logprob), beta=self.beta)
        return float(NORMALIZATIONS[self.normalization](summed, tokens))

    def bound(self, tokens: int, products: Products = "float32") -> float:
        """Bound of the error of one reward that was computed in these products; ``tokens`` is at least 1."""
        return self.bound_by(error_bound(tokens, products=products), tokens)

    def bound_by(self, error: float, tokens: int) -> float:
        """The same where either sum is off by at most ``error``, in nats."""
        sums = 1 if self.without_reference else 2
        bound = sums * self.beta * error
        return bound / tokens if self.normalization == "mean" else bound

    def tie_band(self, tokens: Sequence[int]) -> float:
        """Margins up to this are ties: the error of the least certain two of responses so long."""
        return least_certain_two([self.bound(count) for count in tokens])


def least_certain_two(bounds: Sequence[float]) -> float:
    """Bound of the error of any margin between rewards of such bounds."""
    return sum(sorted(bounds)[-2:])
