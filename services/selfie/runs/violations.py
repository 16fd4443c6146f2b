"""What is wrong with a SelfieRun: everything at once, each with the place and the remedy."""

from collections.abc import Sequence
from dataclasses import dataclass

from selfie.errors import InvalidInput


@dataclass(frozen=True)
class Violation:
    """One mistake: ``spec.scoring.beta`` … is a number … write it in quotes: ``"0.1"``."""

    field: str
    problem: str
    remedy: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return _on_one_line(f"{place}{self.field} {self.problem}; {self.remedy}")


MOST_TOLD = 100
"""Mistakes that are told at once; a file with more is not the one that somebody meant to give."""


def and_more(count: int) -> tuple[Violation, ...]:
    """What is told in place of the mistakes after the first `MOST_TOLD` of ``count``."""
    more = count - MOST_TOLD
    return (Violation("the file", f"has {more} more mistakes", "mend these first"),) if more > 0 else ()


class InvalidRun(InvalidInput):
    """A SelfieRun that cannot be accepted; ``violations`` holds every mistake that is told."""

    reason = "InvalidRun"

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        super().__init__(first.field, first.problem, first.remedy)
        self.violations = tuple(violations)

    def __str__(self) -> str:
        if len(self.violations) == 1:
            return str(self.violations[0])
        lines = "\n".join(f"  {violation}" for violation in self.violations)
        return f"{len(self.violations)} mistakes:\n{lines}"


def _on_one_line(text: str) -> str:
    """The text with everything escaped that would break the line, or move a terminal's cursor."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
