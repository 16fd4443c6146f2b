"""From two checkpoint directories to a scorer that is ready."""

import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from selfie.artifacts.weights import verified_digest
from selfie.models.chat import ChatTokenizer
from selfie.models.checkpoints import is_adapter
from selfie.models.loading import load_policy
from selfie.scoring.adapters import read_adapter
from selfie.scoring.calibrations import read_calibration
from selfie.scoring.core import Scorer
from selfie.scoring.engine import Checkpoint, PreferenceEngine
from selfie.scoring.pairs import FoundPair
from selfie.scoring.precision import EXACT, AnyMode
from selfie.scoring.prompts import PromptCache


@dataclass(frozen=True)
class Weights:
    """A checkpoint directory; an empty ``digest`` takes the directory's own."""

    directory: Path
    digest: str = ""
    verify: bool = True


def load_scorer(  # noqa: PLR0913 - each is a setting
    policy: Weights,
    reference: Weights,
    *,
    device: str,
    token_budget: int,
    calibration: Path | None = None,
    precision: AnyMode = EXACT,
    prompts: PromptCache | None = None,
) -> Scorer:
    """Verifies and loads both models, in float32 and with one attention kernel.

    The same weights are loaded once, and those of a policy that is an adapter are its reference's;
    ``calibration`` is a file, see `read_calibration`. Raises
    DataCorrupted when a directory's digest is not the one promised, and FailedPrecondition when the two
    cannot be compared.
    """
    policy_digest, reference_digest = _digest(policy), _digest(reference)
    fit = None
    if calibration is not None:
        digests = {"policy_digest": policy_digest, "reference_digest": reference_digest}
        fit = read_calibration(calibration, **digests)
    held_against = Checkpoint(load_policy(reference.directory, device=device), reference_digest)
    loaded, tokenizer = held_against, policy.directory
    if is_adapter(policy.directory):
        adapter = read_adapter(policy.directory, held_against.model)
        loaded, tokenizer = Checkpoint(held_against.model, policy_digest, adapter), reference.directory
    elif reference_digest != policy_digest:
        loaded = Checkpoint(load_policy(policy.directory, device=device), policy_digest)
    engine = PreferenceEngine(loaded, held_against, token_budget=token_budget, prompts=prompts)
    return Scorer(engine, ChatTokenizer(tokenizer), fit, precision=precision)


def found_pair(
    policy: Weights,
    reference: Weights,
    *,
    device: str,
    token_budget: int,
    precision: AnyMode = EXACT,
    prompts: PromptCache | None = None,
) -> FoundPair:
    """Two checkpoints that a call named; their memory is that of their parameters in float32."""

    def load() -> Scorer:
        scorer = load_scorer(
            policy, reference, device=device, token_budget=token_budget, precision=precision, prompts=prompts
        )
        scorer.key = f"{scorer.provenance.policy_digest}:{scorer.provenance.reference_digest}"
        return scorer

    directories = {policy.directory, reference.directory}
    return FoundPair(4 * sum(map(_parameters, directories)), load)


def _parameters(directory: Path) -> int:
    count = 0
    for file in directory.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            count += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return count


def _digest(weights: Weights) -> str:
    return verified_digest(weights.directory, weights.digest, verify=weights.verify)
