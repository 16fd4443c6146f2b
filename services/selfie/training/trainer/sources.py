"""What a training reads: weights and pairs, each found by a manifest and checked by digest."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfie.artifacts.manifests import ManifestRef, read_ref
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import pull_published
from selfie.errors import FailedPrecondition
from selfie.models.chat import ChatTokenizer
from selfie.models.checkpoints import context_length, read_json
from selfie.training.trainer.dataset import kept_rows
from selfie.training.trainer.parameters import TrainingParameters, Weights


@dataclass(frozen=True)
class Sources:
    """Directories of the policy and of the weights to start from, and the rows to train on."""

    policy: Path
    start: Path
    rows: list[dict[str, Any]]
    inputs: dict[str, str]
    """Digests of the chat template and the tokenizer that the ids were made with."""

    @property
    def max_tokens(self) -> int:
        """Longest sequence that the model has positions for."""
        return context_length(self.start) or sys.maxsize

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the model has."""
        return int(read_json(self.start / "config.json")["vocab_size"])


def fetch_sources(store: Store, parameters: TrainingParameters) -> Sources:
    """Everything of the parameters, on this machine and verified.

    `FailedPrecondition` ``PolicyDiffers`` where pairs were scored by another policy than the one given.
    """
    pairs = parameters.pairs
    manifest = read_ref(store, ManifestRef(pairs.path, pairs.sha256))
    rows = kept_rows(read_group(store, manifest, pairs.group))
    if parameters.kind == "round":
        _require_policy(rows, parameters.policy.digest)
    policy = fetch_weights(store, parameters.policy, parameters.cache_dir)
    start = policy
    if parameters.start is not parameters.policy:
        start = fetch_weights(store, parameters.start, parameters.cache_dir)
    tokenizer = ChatTokenizer(start)
    inputs = {"template": tokenizer.template_digest, "tokenizer": tokenizer.tokenizer_digest}
    return Sources(policy, start, rows, inputs)


def fetch_weights(store: Store, weights: Weights, cache: Path) -> Path:
    """A checkpoint's directory on this machine; see `pull_published` for what is refused."""
    source = open_store(weights.run_uri) if weights.run_uri not in ("", store.uri) else store
    return pull_published(
        source, weights.step, weights.group, digest=weights.digest, cache_root=cache / "weights"
    )


def _require_policy(rows: list[dict[str, Any]], digest: str) -> None:
    other = next((row for row in rows if row["policy_digest"] != digest), None)
    if other is not None:
        raise FailedPrecondition(
            "PolicyDiffers",
            f"pair {other['pair_id']} was scored by the policy {other['policy_digest']}, not by {digest}, "
            "which is to be trained; score the round again with this one",
        )
