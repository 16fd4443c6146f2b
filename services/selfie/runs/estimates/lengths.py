"""Lengths of prompts and responses in tokens, and how much of a batch is padding.

Lengths are taken to be normal with the mean and 95 % quantile that were found or assumed, cut off at
the longest. The largest of n is then about where the normal has probability (n - 3/8) / (n + 1/4)
(Blom 1958).
"""

from dataclasses import dataclass
from statistics import NormalDist, fmean

_NORMAL = NormalDist()
_Z95 = _NORMAL.inv_cdf(0.95)


@dataclass(frozen=True)
class Length:
    """Of a text in tokens: mean, 95 % quantile, and the longest there is or can be."""

    mean: float
    q95: float
    longest: float

    @property
    def deviation(self) -> float:
        """Standard deviation of the normal with this mean and quantile."""
        return max(self.q95 - self.mean, 0.0) / _Z95

    def largest_of(self, count: float) -> float:
        """Expected longest of ``count`` texts."""
        return min(self.mean + self.deviation * _standard(count, count), max(self.longest, self.mean))

    def cut_at(self, limit: float) -> "Length":
        """The same texts, none longer than ``limit``."""
        return Length(min(self.mean, limit), min(self.q95, limit), min(self.longest, limit))


@dataclass(frozen=True)
class Pairs:
    """Pairs to train on: how many, and how long their prompts and responses are."""

    count: int
    prompt: Length
    response: Length

    @property
    def length(self) -> Length:
        """Of a pair's longer side with its prompt, which both sides are padded to."""
        mean = self.prompt.mean + self.response.largest_of(2)
        deviation = (self.prompt.deviation**2 + self.response.deviation**2) ** 0.5
        return Length(mean, mean + _Z95 * deviation, self.prompt.longest + self.response.longest)

    def row_tokens(self, *, batch: int, at_once: int) -> float:
        """Mean tokens of a row, padding included.

        A step's ``batch`` pairs are sorted by length and computed ``at_once``, a divisor of it, at a
        time, each padded to the longest of those. A last, short step is taken for a whole one.
        """
        return fmean(self._at(place, batch) for place in range(at_once, batch + 1, at_once))

    def longest_row(self) -> float:
        """Tokens of the longest row of all."""
        return self._at(max(self.count, 1), max(self.count, 1))

    def _at(self, place: float, count: float) -> float:
        """Length of the pair that is number ``place`` of ``count`` in order of length."""
        length = self.length
        expected = length.mean + length.deviation * _standard(place, count)
        return min(max(expected, 1.0), max(length.longest, length.mean))


def _standard(place: float, count: float) -> float:
    """Expected value of number ``place`` of ``count`` standard normals in ascending order."""
    return _NORMAL.inv_cdf((place - 0.375) / (count + 0.25))
