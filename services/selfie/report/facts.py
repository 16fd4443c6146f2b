"""What a report is made of: plain values, read off the store by `selfie.report.gather`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfie.method.statistics import Proportion
from selfie.report.agreements import Agreement
from selfie.report.comparisons import Comparison
from selfie.report.heldout import HeldoutPairs, JudgeFacts
from selfie.report.ratings import Quality

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StepFacts:
    """The numbers of one published step; ``seconds`` is what its last attempt took.

    ``origin`` is the root of the run that it was taken over from, if it was.
    """

    name: str
    seconds: float
    counts: Mapping[str, int]
    measures: Mapping[str, float]
    origin: str = ""


@dataclass(frozen=True)
class LabelAudit:
    """Self-made labels held against an evaluator that saw nothing of the policy."""

    labels: Proportion
    # Share of wrong labels among the pairs that the filter suspects, and among the others.
    wrong_if_noisy: Proportion | None
    wrong_otherwise: Proportion | None
    # The same for the pairs that the trainer took to be noisy at least once.
    wrong_if_trained_noisy: Proportion | None
    wrong_if_trained_clean: Proportion | None


@dataclass(frozen=True)
class SamplePair:
    """One self-made pair to read."""

    prompt: str
    chosen: str
    rejected: str
    margin: float
    probability: float
    note: str


@dataclass(frozen=True)
class RoundFacts:
    """One round; steps by name, absent ones left out. Margins are those of kept pairs."""

    number: int
    steps: Mapping[str, StepFacts]
    margins: Floats
    # The pairs behind `judge`, to hold another round against.
    heldout: HeldoutPairs | None = None
    judge: JudgeFacts | None = None
    comparisons: Sequence[Comparison] = ()
    audit: LabelAudit | None = None
    # Share of the kept pairs whose label prefers the longer response.
    longer: Proportion | None = None
    quality: Quality | None = None
    samples: Sequence[SamplePair] = ()

    def measure(self, step: str, name: str) -> float | None:
        """A measure or count of a step of this round, or None where it was not taken."""
        facts = self.steps.get(step)
        if facts is None:
            return None
        value = facts.measures.get(name, facts.counts.get(name))
        return None if value is None else float(value)

    @property
    def label(self) -> str:
        """What people call the policy that this round ended with."""
        return "seed (π₀)" if self.number == 0 else f"round {self.number} (π{_subscript(self.number)})"


@dataclass(frozen=True)
class RunFacts:
    """A whole run, as far as it is."""

    name: str
    state: str
    message: str
    best_round: int | None
    spec_yaml: str
    evaluator: str
    refinement: str
    rounds: Sequence[RoundFacts]
    seconds: float
    # What the evaluator is worth, where it was fitted; an oracle knows.
    agreement: Agreement | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


def _subscript(number: int) -> str:
    return "".join(chr(0x2080 + int(digit)) for digit in str(number))
