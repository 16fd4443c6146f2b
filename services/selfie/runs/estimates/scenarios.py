"""What nobody knows before a run, as three scenarios from the least to the most that it can come to."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One reading of all that is unknown.

    ``response_share`` is the mean length of self-made responses as a share of maxNewTokens, and
    ``kept_share`` the share of prompts whose pair is trained on. ``pace`` is the power of the rates'
    spread that times are multiplied by, and ``activations`` multiplies memory that is not weights.
    """

    response_share: float
    kept_share: float
    pace: float
    activations: float


LEAST: Final = Scenario(response_share=0.4, kept_share=0.5, pace=-1.0, activations=0.7)
LIKELY: Final = Scenario(response_share=0.65, kept_share=0.85, pace=0.0, activations=1.0)
MOST: Final = Scenario(response_share=1.0, kept_share=1.0, pace=1.0, activations=1.4)
SCENARIOS: Final = (LEAST, LIKELY, MOST)


@dataclass(frozen=True)
class Range:
    """A figure in the three scenarios; ``low <= likely <= high``."""

    low: float
    likely: float
    high: float

    @classmethod
    def of(cls, values: tuple[float, float, float]) -> "Range":
        """From the scenarios' values, whichever order their sizes are in."""
        return cls(min(values), values[1], max(values))

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, factor: float) -> "Range":
        """Every value times ``factor``, which is not negative."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)

    def largest(self, other: "Range") -> "Range":
        """The larger value in every scenario."""
        pairs = zip((self.low, self.likely, self.high), (other.low, other.likely, other.high), strict=True)
        return Range(*(max(pair) for pair in pairs))


NOTHING: Final = Range(0.0, 0.0, 0.0)
