"""What publish is told: the JSON that the controller hands to the program."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from selfie.artifacts.manifests import Record
from selfie.artifacts.programs import Attempt


class CheckpointSource(Record):
    """Weights: a file group of a step's manifest, and the digest that it must have."""

    step: str = Field(min_length=1)
    group: str = "checkpoint"
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class PublishParameters(Record):
    """Parameters of the program; ``runName``, ``round`` and ``baseModel`` go into the model card."""

    attempt: Attempt
    source: CheckpointSource
    run_name: str = Field(min_length=1)
    round: Annotated[int, Field(ge=0)]
    base_model: str = Field(min_length=1)
    cache_dir: Path | None = Field(None, description="Not used: the large files are not fetched.")
