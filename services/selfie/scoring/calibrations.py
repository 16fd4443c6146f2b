"""How margins of two given checkpoints become frequencies: a fit in a file, bound to their digests.

Slopes are kept for the bare difference of log-ratios, so that one fit serves every beta.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.method.choices import NormalizationName
from selfie.scoring.rewards import RewardRule

_FIELD = "calibration"
_KEYS = {"policyDigest", "referenceDigest", "pairs", "slopes"}


@dataclass(frozen=True)
class Calibration:
    """``slopes`` are in 1 / nats, by normalisation; ``id`` is the SHA-256 of the file, ``pairs`` its size."""

    id: str
    pairs: int
    slopes: Mapping[NormalizationName, float]

    def slope(self, rule: RewardRule) -> float:
        """What a margin by this rule has to be multiplied by."""
        return self.slopes[rule.normalization] / rule.beta


def calibration_text(
    *, policy_digest: str, reference_digest: str, pairs: int, slopes: Mapping[NormalizationName, float]
) -> str:
    """A fit as the text of its file."""
    document = {
        "policyDigest": policy_digest,
        "referenceDigest": reference_digest,
        "pairs": pairs,
        "slopes": dict(slopes),
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def read_calibration(path: Path, *, policy_digest: str, reference_digest: str) -> Calibration:
    """The fit in a file; `InvalidInput` for a file of another form, FailedPrecondition for other weights."""
    document, digest = _document(path)
    if (document["policyDigest"], document["referenceDigest"]) != (policy_digest, reference_digest):
        raise FailedPrecondition(
            "OtherWeightsCalibrated",
            f"{path} calibrates {document['policyDigest'][:12]} against {document['referenceDigest'][:12]}, "
            f"not {policy_digest[:12]} against {reference_digest[:12]}; fit these weights, or leave it out",
        )
    return Calibration(digest, int(document["pairs"]), document["slopes"])


def _document(path: Path) -> tuple[dict[str, Any], str]:
    remedy = "write it as docs/scorer.md says"
    try:
        data = path.read_bytes()
        document = json.loads(data)
    except (OSError, ValueError) as error:
        raise InvalidInput(_FIELD, f"{path} is not a readable JSON file: {error}", remedy) from error
    if not isinstance(document, dict) or set(document) != _KEYS:
        raise InvalidInput(_FIELD, f"{path} has not exactly the keys {', '.join(sorted(_KEYS))}", remedy)
    slopes = document["slopes"]
    if not isinstance(slopes, dict) or not all(
        isinstance(slopes.get(name), int | float) for name in ("sum", "mean")
    ):
        raise InvalidInput(_FIELD, f"{path} has no number for both slopes, sum and mean", remedy)
    return document, hashlib.sha256(data).hexdigest()
