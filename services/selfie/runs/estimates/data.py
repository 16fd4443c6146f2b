"""How many rows the run's data sets have, and how long they are: found or assumed, and which of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from selfie.runs.estimates.lengths import Length
from selfie.runs.estimates.shapes import ModelShape
from selfie.runs.lineage import prompt_group
from selfie.runs.spec import RunSpec
from selfie.runs.steps import Step

SEED: Final = "seed"
HELDOUT: Final = "heldout"
EVALUATION: Final = "evaluation-prompts"


@dataclass(frozen=True)
class PromptSizes:
    """Prompts of a data set: how many, how long in tokens, and where these figures come from.

    ``assumed``: nobody has looked, and no advice is to be given on such lengths.
    """

    rows: int
    prompt: Length
    basis: str
    assumed: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class PairSizes(PromptSizes):
    """Labelled pairs: ``response`` is the length of either side."""

    response: Length


@dataclass(frozen=True)
class RunData:
    """Every data set of a run, by the name of its group in the manifest of `prepare`."""

    pairs: Mapping[str, PairSizes]
    prompts: Mapping[str, PromptSizes]

    def prompts_of(self, step: Step) -> PromptSizes:
        """What is answered, or was answered, in a step's round, or in its evaluation."""
        return self.prompts[EVALUATION if step.stage == "evaluate" else prompt_group(step.round)]


@dataclass(frozen=True)
class Case:
    """What the arithmetic is about: a specification, its models and its data."""

    spec: RunSpec
    policy: ModelShape
    reference: ModelShape
    data: RunData
