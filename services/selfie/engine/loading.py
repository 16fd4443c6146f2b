"""From a checkpoint directory to an engine that is ready."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig

from selfie import __version__
from selfie.artifacts.weights import verified_digest
from selfie.engine.batching import Answer, Limits
from selfie.engine.core import Abandoned, Engine, Identity
from selfie.engine.decoding import Prompt, decode
from selfie.engine.sampling import SamplingParameters
from selfie.errors import FailedPrecondition
from selfie.models.chat import ChatTokenizer
from selfie.models.loading import Dtype, load_policy

# The cache holds keys and values; layers with another kind of memory would be decoded wrongly.
_KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What to load; an empty ``digest`` takes the directory's own."""

    directory: Path
    digest: str = ""
    dtype: Dtype = "float32"
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine, and the tokenizer that its texts come from."""

    engine: Engine
    tokenizer: ChatTokenizer


def load(checkpoint: Checkpoint, limits: Limits) -> Loaded:
    """Verifies, loads and starts.

    Raises `DataCorrupted` when the directory's digest is not the one promised, and
    `FailedPrecondition` ``ArchitectureUnsupported`` for a model that keeps other state than
    keys and values.
    """
    digest = verified_digest(checkpoint.directory, checkpoint.digest, verify=checkpoint.verify)
    tokenizer = ChatTokenizer(checkpoint.directory)
    model = load_policy(checkpoint.directory, dtype=checkpoint.dtype)
    config = model.config.get_text_config()
    _check_layers(config)
    identity = Identity(
        weights_digest=digest,
        tokenizer_digest=tokenizer.tokenizer_digest,
        max_context_tokens=config.max_position_embeddings,
        vocabulary_size=config.vocab_size,
        precision=checkpoint.dtype,
        engine=_name(),
    )

    def run(prompts: Sequence[Prompt], parameters: SamplingParameters, abandoned: Abandoned) -> Answer | None:
        return decode(model, prompts, parameters, end_ids=tokenizer.end_of_turn_ids, abandoned=abandoned)

    return Loaded(Engine(run, identity, limits), tokenizer)


def _check_layers(config: PretrainedConfig) -> None:
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - _KNOWN_LAYERS:
        unknown = ", ".join(sorted(kinds - _KNOWN_LAYERS))
        raise FailedPrecondition(
            "ArchitectureUnsupported",
            f"{config.model_type} has layers of the kind {unknown}; serve it with another engine",
        )


def _name() -> str:
    """Name and versions of what decides about the sampled ids."""
    libraries = [f"{name}/{importlib.metadata.version(name)}" for name in ("torch", "transformers")]
    return " ".join([f"selfie-embedded/{__version__}", *libraries])
