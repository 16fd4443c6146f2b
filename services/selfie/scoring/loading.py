"""From two checkpoint directories to a scorer that is ready."""

from dataclasses import dataclass
from pathlib import Path

from selfie.artifacts.weights import verified_digest
from selfie.models.chat import ChatTokenizer
from selfie.models.loading import load_policy
from selfie.scoring.calibrations import read_calibration
from selfie.scoring.core import Scorer
from selfie.scoring.engine import Checkpoint, PreferenceEngine


@dataclass(frozen=True)
class Weights:
    """A checkpoint directory; an empty ``digest`` takes the directory's own."""

    directory: Path
    digest: str = ""
    verify: bool = True


def load_scorer(
    policy: Weights,
    reference: Weights,
    *,
    device: str,
    token_budget: int,
    calibration: Path | None = None,
) -> Scorer:
    """Verifies and loads both models, in float32 and with one attention kernel.

    The same weights are loaded once; ``calibration`` is a file, see `read_calibration`. Raises
    DataCorrupted when a directory's digest is not the one promised, and FailedPrecondition when the two
    cannot be compared.
    """
    policy_digest, reference_digest = _digest(policy), _digest(reference)
    fit = None
    if calibration is not None:
        digests = {"policy_digest": policy_digest, "reference_digest": reference_digest}
        fit = read_calibration(calibration, **digests)
    loaded = Checkpoint(load_policy(policy.directory, device=device), policy_digest)
    held_against = loaded
    if reference_digest != policy_digest:
        held_against = Checkpoint(load_policy(reference.directory, device=device), reference_digest)
    engine = PreferenceEngine(loaded, held_against, token_budget=token_budget)
    return Scorer(engine, ChatTokenizer(policy.directory), fit)


def _digest(weights: Weights) -> str:
    return verified_digest(weights.directory, weights.digest, verify=weights.verify)
