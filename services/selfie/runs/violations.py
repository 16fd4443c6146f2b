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
        return f"{place}{self.field} {self.problem}; {self.remedy}"


class InvalidRun(InvalidInput):
    """A SelfieRun that cannot be accepted; ``violations`` holds every mistake that was found."""

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
