"""What the program is told: what to fit an evaluator on, or what to rate by one that was fitted."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from selfie.artifacts.manifests import ManifestRef, Record
from selfie.artifacts.programs import Attempt

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Weights(Record):
    """A checkpoint: a file group of a step's manifest, and the digest that it must have."""

    step: str = Field(min_length=1)
    group: str = Field(min_length=1)
    digest: Sha256


class Files(Record):
    """A file group of the very manifest that is meant."""

    path: str = Field(min_length=1, description="Path of the manifest under the run's root.")
    sha256: Sha256 = Field(description="SHA-256 of the manifest's bytes.")
    group: str = Field(min_length=1, description="File group in that manifest.")

    @property
    def manifest(self) -> ManifestRef:
        """The manifest that names the files."""
        return ManifestRef(self.path, self.sha256)


class RatingParameters(Record):
    """What every start is told; ``cacheDir`` is a directory of this machine for weights."""

    attempt: Attempt
    initial: Weights = Field(description="The initial model, whose hidden states are the embeddings.")
    cache_dir: Path = Field(strict=False)


class FitParameters(RatingParameters):
    """Fits an evaluator on ``pairs`` and measures it on ``heldout``; rates ``samples``, if there are any."""

    kind: Literal["fit"]
    pairs: Files
    heldout: Files
    samples: Files | None = None


class RateParameters(RatingParameters):
    """Rates ``samples`` by the evaluator that another step has fitted."""

    kind: Literal["rate"]
    evaluator: Files
    samples: Files
