"""How often runs are looked at that only wait for work to go on.

So many looks a second at all of them together: with a thousand runs at work each is asked less often
how far it is, instead of the operator being busy with nothing. What matters comes sooner anyway: Jobs
and pods are watched, and a deadline is looked at as soon as it would be for a run alone.
"""

from typing import Final, Literal

from selfie_operator.keys import Key

Work = Literal["job", "call"]

LOOKS_A_SECOND: Final[dict[Work, float]] = {"job": 5.0, "call": 20.0}
"""Of a call nothing is told before it is asked for, so its end would be noticed late."""
LOOK_AT_JOBS_S: Final = 20.0
"""Jobs are watched, and are only asked how far they are."""


class Pace:
    """Knows which runs are at work; what it has forgotten it learns at the next look."""

    def __init__(self) -> None:
        self._at_work: dict[Key, Work] = {}
        self._count: dict[Work, int] = {"job": 0, "call": 0}

    def seen(self, key: Key, work: Work | None) -> None:
        """Takes note of what the run's work is, None for none that is waited for."""
        before = self._at_work.pop(key, None)
        if before is not None:
            self._count[before] -= 1
        if work is not None:
            self._at_work[key] = work
            self._count[work] += 1

    def turn_s(self, work: Work) -> float:
        """Seconds between two looks at a run with such work, for all of them to have their turn."""
        return self._count[work] / LOOKS_A_SECOND[work]


def wait_s(work: Work, wanted_s: float, *, turn_s: float, deadline_s: float | None) -> float:
    """Seconds to the next look: as wanted, or in the run's turn, but soon after a deadline has passed."""
    soonest = max(wanted_s, LOOK_AT_JOBS_S) if work == "job" else wanted_s
    wait = max(soonest, turn_s)
    return wait if deadline_s is None else min(wait, max(deadline_s + 1, soonest))
