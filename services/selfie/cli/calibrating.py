"""A run's calibration: how often people prefer what one of its policies prefers, on its held-out pairs.

The pairs were scored when the round was evaluated; nothing is computed again but one number.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.errors import InvalidInput
from selfie.method.calibration import fitted_slope
from selfie.runs.steps import Step
from selfie.scoring.calibrations import calibration_text

LEAST_PAIRS = 30
"""With fewer, the slope would be chance's."""

_COLUMNS = (
    "policy_digest",
    "reference_digest",
    *(
        f"{side}_{name}"
        for side in ("chosen", "rejected")
        for name in ("policy_logprob", "reference_logprob")
    ),
    "chosen_tokens",
    "rejected_tokens",
)


def calibration_file(
    store: Store, number: int, *, policy_digest: str, reference_digest: str, cache: Path
) -> Path | None:
    """A file below ``cache`` with the fit for a round's policy; None where its pairs do not give one."""
    manifest = read_manifest(store, Step(number, "evaluate-heldout").path)
    if manifest is None:
        return None
    table = read_group(store, manifest, "pairs").select(_COLUMNS).to_pylist()
    rows = [
        row
        for row in table
        if (row["policy_digest"], row["reference_digest"]) == (policy_digest, reference_digest)
    ]
    if len(rows) < LEAST_PAIRS:
        return None
    chosen, rejected = _ratios("chosen", rows), _ratios("rejected", rows)
    tokens = [np.array([float(row[f"{side}_tokens"]) for row in rows]) for side in ("chosen", "rejected")]
    try:
        text = calibration_text(
            policy_digest=policy_digest,
            reference_digest=reference_digest,
            pairs=len(rows),
            slopes={
                "sum": fitted_slope(chosen - rejected),
                "mean": fitted_slope(chosen / tokens[0] - rejected / tokens[1]),
            },
        )
    except InvalidInput:
        # Where policy and reference are the same, no pair has a margin.
        return None
    return _kept(text, cache / "calibrations")


def _ratios(side: str, rows: list[dict[str, float]]) -> npt.NDArray[np.float64]:
    return np.array([row[f"{side}_policy_logprob"] - row[f"{side}_reference_logprob"] for row in rows])


def _kept(text: str, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
    return path
