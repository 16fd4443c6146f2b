"""What the program is told."""

from pathlib import Path

from pydantic import Field

from selfie.artifacts.manifests import Record
from selfie.artifacts.programs import Attempt
from selfie.runs.spec import SelfieRun


class AdoptParameters(Record):
    """Parameters of the program."""

    attempt: Attempt
    run: SelfieRun = Field(description="The run that takes over; `spec.resumeFrom` names the other one.")
    cache_dir: Path = Field(strict=False, description="Directory on this machine for files on their way.")
