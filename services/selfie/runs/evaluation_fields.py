"""What is measured after each round, and when a run stops trusting itself."""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from selfie.runs.decimals import Decimal, Within
from selfie.runs.records import Record
from selfie.runs.sources import PromptSlice

BreachName: TypeAlias = Literal["report", "stop", "fallBack"]
EvaluatorName: TypeAlias = Literal["none", "readingEase", "bradleyTerry"]

LEAST_EVALUATOR_PAIRS: Final = 64
"""Fewest pairs that an evaluator is fitted on."""
EVALUATOR_PAIRS: Final = 1000
"""Most of them, where nothing else is said."""


class Gates(Record):
    """Bounds on a round; crossing one is a breach, and a round in breach is never the best round."""

    on_breach: BreachName = Field(
        default="report",
        description="report notes it; stop ends the run there; fallBack makes the next round's pairs "
        "with the best round's policy.",
    )
    max_accuracy_drop: Annotated[Decimal, Within(0, 1)] | None = Field(
        default=None,
        description="How far the held-out accuracy may fall below the best round before, as a fraction.",
    )
    max_length_ratio: Annotated[Decimal, Within(0, 1000, above=True)] | None = Field(
        default=None, description="Largest mean length of responses, as a multiple of round 0's."
    )
    max_divergence: Annotated[Decimal, Within(0, 1000, above=True)] | None = Field(
        default=None, description="Largest divergence from the initial model, in nats a token."
    )
    max_duplicate_share: Annotated[Decimal, Within(0, 1)] | None = Field(
        default=None, description="Largest share of responses that repeat an earlier one word for word."
    )
    min_finished_share: Annotated[Decimal, Within(0, 1)] | None = Field(
        default=None, description="Smallest share of responses that end by themselves."
    )

    @property
    def bounds(self) -> tuple[str, ...]:
        """Names of the bounds that are given."""
        fields = type(self).model_fields
        return tuple(n for n in fields if n != "on_breach" and getattr(self, n) is not None)


class Evaluation(Record):
    """Measurements of every round; the held-out pairs are `spec.seed.heldout`."""

    prompts: PromptSlice | None = Field(
        default=None, description="Prompts that no round trains on, to sample from."
    )
    samples: int = Field(default=1, ge=1, le=64, description="Responses to each of these prompts.")
    initial: bool = Field(
        default=True, description="Sample from the initial model too, for every round to be compared with."
    )
    evaluator: EvaluatorName = Field(
        default="none",
        description="A judge of the responses that is not the policy: readingEase rates plain English; "
        "bradleyTerry is fitted on seed pairs that the run does not train on.",
    )
    evaluator_pairs: int = Field(
        default=EVALUATOR_PAIRS,
        ge=LEAST_EVALUATOR_PAIRS,
        le=100_000,
        description="Most pairs that bradleyTerry is fitted on: of those in spec.seed.dataset after "
        "the first spec.seed.size.",
    )
    gates: Gates = Field(default_factory=Gates, description="When a round is not to be trusted.")
