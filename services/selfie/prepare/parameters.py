"""What prepare is told: the JSON that the controller hands to the program."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from selfie.artifacts.manifests import Record
from selfie.artifacts.programs import Attempt

Count = Annotated[int, Field(ge=0)]


class ModelSource(Record):
    """A model's URI, and its revision where that is on the Hub."""

    uri: str = Field(min_length=1)
    revision: str | None = None


class PairSource(Record):
    """The first ``size`` labelled pairs of a data set; 0 takes all."""

    dataset: str = Field(min_length=1)
    size: Count = 0


class PromptSource(Record):
    """``count`` prompts of a data set after the first ``from``; 0 takes all that are left."""

    dataset: str = Field(min_length=1)
    start: Count = Field(0, alias="from")
    count: Count = 0


class PrepareParameters(Record):
    """Parameters of the program; ``cacheDir`` is a directory of this machine for what is fetched."""

    attempt: Attempt
    model: ModelSource
    reference_model: ModelSource | None = None
    seed: PairSource | None = None
    heldout: PairSource | None = None
    rounds: tuple[PromptSource, ...] = ()
    evaluation: PromptSource | None = None
    evaluator_pairs: Count = Field(
        0,
        description="Most pairs of the seed's data set, after its own, for an evaluator.",
    )
    max_prompt_tokens: int = Field(ge=1)
    random_seed: Count = Field(0, description="Recorded; prepare itself draws nothing.")
    cache_dir: Path
