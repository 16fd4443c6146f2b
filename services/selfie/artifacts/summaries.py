"""What the planner is told of a manifest."""

from selfie.artifacts.manifests import Manifest
from selfie.artifacts.weights import weights_digest
from selfie.runs.observed import ManifestSummary

GROUPS_OF_WEIGHTS = frozenset({"model", "reference", "checkpoint"})


def summary(manifest: Manifest, sha256: str) -> ManifestSummary:
    """What the planner is told of a manifest."""
    groups = GROUPS_OF_WEIGHTS & {entry.group for entry in manifest.files}
    return ManifestSummary(
        sha256=sha256,
        counts=manifest.counts,
        measures=manifest.measures,
        groups=frozenset(entry.group for entry in manifest.files),
        digests={group: weights_digest(manifest.group(group)) for group in groups},
        attempt=manifest.attempt,
        seconds=(manifest.finished_at - manifest.started_at).total_seconds(),
    )
