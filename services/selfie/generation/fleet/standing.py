"""How long a replica that fails is left out. Pure: the time is an argument."""

from dataclasses import dataclass

FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Failures in a row, why the last one happened, and when the replica may be tried again.

    It is in again when its time is over, but one more failure doubles the next rest; only
    something that it has really done makes it as good as new.
    """

    failures: int = 0
    rests_until: float = 0.0
    reason: str = ""

    def is_out(self, now: float) -> bool:
        """Whether it is to be left alone."""
        return now < self.rests_until

    def after_failure(self, now: float, reason: str) -> "Standing":
        """Out for a second, then two, four, … up to half a minute; failures of one moment count once."""
        if self.is_out(now):
            return self
        rest = min(FIRST_REST_S * 2.0**self.failures, LONGEST_REST_S)
        return Standing(self.failures + 1, now + rest, reason)

    def after_success(self) -> "Standing":
        """As good as new."""
        return Standing()
