"""The note on a pod that says which weights its engine is to have."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from selfie.errors import InvalidInput

Step = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*$", max_length=128)
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class WantedWeights(BaseModel):
    """Weights by the step and group that published them, and their digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: Step
    group: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    digest: Digest


def read_wanted(path: Path) -> WantedWeights | None:
    """What the file says; None where the pod has no note yet.

    `InvalidInput` names what is wrong in a note that says no weights.
    """
    text = path.read_text() if path.is_file() else ""
    if not text.strip():
        return None
    try:
        return WantedWeights.model_validate(json.loads(text))
    except (ValidationError, ValueError) as error:
        raise InvalidInput(
            "selfie.dev/policy", f"names no weights: {error}", "leave this annotation to the operator"
        ) from error
