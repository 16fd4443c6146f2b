"""How rounds and figures are written in columns that have to stay narrow: one thing a line."""

import re

from selfie.method.statistics import Difference, Proportion
from selfie.report.cells import NOTHING, percent


def place(run: str, number: int) -> str:
    """A round of a run, as people call it."""
    return f"{run} · {'seed' if number == 0 else f'round {number}'}"


def verdict(found: str) -> str:
    """A verdict in two lines."""
    return re.sub(" (established|for)", r"\n\1", found)


def share(found: Proportion | None) -> str:
    """A share with its interval and what it is a share of."""
    if found is None:
        return NOTHING
    return f"{percent(found.value)}\n[{100 * found.low:.0f}, {100 * found.high:.0f}] of {found.n}"


def points(found: Difference) -> str:
    """A difference of shares in points, with its interval."""
    return f"{100 * found.value:+.1f}\n[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def signed(found: Difference | None) -> str:
    """A difference with its interval."""
    if found is None:
        return NOTHING
    return f"{found.value:+.3f}\n[{found.low:+.3f}, {found.high:+.3f}]"
