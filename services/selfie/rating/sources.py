"""What is rated by, and what is rated: each found by a manifest and checked by digest."""

from pathlib import Path

import pyarrow as pa

from selfie.artifacts.manifests import read_ref
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.artifacts.weights import pull_published
from selfie.errors import FailedPrecondition
from selfie.method.bradley_terry import BradleyTerry
from selfie.rating.files import read_evaluator
from selfie.rating.parameters import Files, RateParameters, Weights


def fetch_weights(store: Store, weights: Weights, cache: Path) -> Path:
    """A checkpoint's directory on this machine; see `pull_published` for what is refused."""
    return pull_published(
        store, weights.step, weights.group, digest=weights.digest, cache_root=cache / "weights"
    )


def rows_of(store: Store, files: Files) -> pa.Table:
    """The rows of the group, from the very manifest that is meant."""
    return read_group(store, read_ref(store, files.manifest), files.group)


def fetch_evaluator(store: Store, parameters: RateParameters) -> tuple[BradleyTerry, str]:
    """The evaluator and its digest.

    `FailedPrecondition` ``EvaluatorDiffers`` where it was fitted on another model's embeddings.
    """
    manifest = read_ref(store, parameters.evaluator.manifest)
    fitted_on, given = manifest.inputs.get("initial"), parameters.initial.digest
    if fitted_on != given:
        raise FailedPrecondition(
            "EvaluatorDiffers",
            f"the evaluator of {manifest.step} reads embeddings of the weights {fitted_on}, not of {given}",
        )
    return read_evaluator(store, manifest)
