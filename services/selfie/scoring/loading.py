"""From two checkpoint directories to a scorer that is ready."""

from dataclasses import dataclass
from pathlib import Path

from selfie.artifacts.digests import digest_file
from selfie.artifacts.manifests import FileEntry
from selfie.artifacts.weights import weights_digest
from selfie.errors import DataCorrupted
from selfie.models.chat import ChatTokenizer
from selfie.models.loading import load_policy
from selfie.scoring.core import Scorer
from selfie.scoring.engine import Checkpoint, PreferenceEngine


@dataclass(frozen=True)
class Weights:
    """A checkpoint directory; an empty ``digest`` takes the directory's own."""

    directory: Path
    digest: str = ""
    verify: bool = True


def load_scorer(policy: Weights, reference: Weights, *, device: str, token_budget: int) -> Scorer:
    """Verifies and loads both models, in float32 and with one attention kernel.

    The same weights are loaded once. Raises DataCorrupted when a directory's digest is not the one
    promised, and FailedPrecondition when the two cannot be compared.
    """
    policy_digest, reference_digest = resolve_digest(policy), resolve_digest(reference)
    loaded = Checkpoint(load_policy(policy.directory, device=device), policy_digest)
    held_against = loaded
    if reference_digest != policy_digest:
        held_against = Checkpoint(load_policy(reference.directory, device=device), reference_digest)
    engine = PreferenceEngine(loaded, held_against, token_budget=token_budget)
    return Scorer(engine, ChatTokenizer(policy.directory))


def resolve_digest(weights: Weights) -> str:
    """The digest that the weights are known by: computed, unless one is given and not to be verified."""
    if weights.digest and not weights.verify:
        return weights.digest
    directory = weights.directory
    found = weights_digest(_entry(directory, file) for file in sorted(directory.rglob("*")) if file.is_file())
    if weights.digest not in ("", found):
        raise DataCorrupted(
            f"{directory} has the digest {found}, not {weights.digest}; fetch the weights again"
        )
    return found


def _entry(directory: Path, file: Path) -> FileEntry:
    name, digest = file.relative_to(directory).as_posix(), digest_file(file)
    return FileEntry(group="checkpoint", name=name, path=name, sha256=digest.sha256, bytes=digest.bytes)
