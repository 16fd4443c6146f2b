"""What an evaluator that was fitted is itself worth: how often it agrees with people on held-out pairs.

A win rate by an evaluator says no more than the evaluator does, so it is never told without this.
"""

from dataclasses import dataclass

from selfie.artifacts.manifests import Manifest
from selfie.method.statistics import Proportion


@dataclass(frozen=True)
class Agreement:
    """Shares of the same held-out pairs: of the evaluator, and of preferring the longer response.

    ``digest`` is of the evaluator's file: ratings of two files cannot be held against each other.
    """

    digest: str
    pairs: int
    heldout: Proportion
    longer: Proportion


def agreement_of(manifest: Manifest | None) -> Agreement | None:
    """As the step `evaluator` has published it; None where none was fitted."""
    if manifest is None:
        return None
    return Agreement(
        digest=manifest.group("evaluator")[0].sha256,
        pairs=manifest.counts["pairs"],
        heldout=_share(manifest, "heldout_accuracy"),
        longer=_share(manifest, "heldout_longer"),
    )


def _share(manifest: Manifest, name: str) -> Proportion:
    value, low, high = (manifest.measures[f"{name}{end}"] for end in ("", "_low", "_high"))
    return Proportion(value, low, high, manifest.counts["heldout"])
