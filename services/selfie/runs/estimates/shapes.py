"""What of a model decides how much it takes: the sizes of its layers, read from its config.json."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selfie.errors import InvalidInput

BYTES = 4
"""Of one parameter: engine, scorer and trainer compute in float32, and checkpoints are stored so."""

SHARING = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures whose prompts the scorer computes once (`selfie.scoring.backbones`; a test compares)."""

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_NAMED_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)\s?([bm])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A decoder whose layers are grouped-query attention and a gated MLP; biases are passed over."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    context: int | None = None
    """Longest sequence, in tokens; None where the configuration is silent."""
    shares_prompts: bool = True

    @property
    def attention_size(self) -> int:
        """Numbers in a token's query."""
        return self.heads * self.head_size

    @property
    def kv_size(self) -> int:
        """Numbers in a token's key, and in its value."""
        return self.kv_heads * self.head_size

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Sizes (in, out) of the seven matrices of a layer."""
        query, key, mlp = (
            (self.hidden, self.attention_size),
            (self.hidden, self.kv_size),
            (self.hidden, self.intermediate),
        )
        return (query, key, key, query[::-1], mlp, mlp, mlp[::-1])

    @property
    def layer_matrix_parameters(self) -> int:
        """Parameters of a layer that a token is multiplied by."""
        return sum(rows * columns for rows, columns in self.matrices)

    @property
    def parameters(self) -> int:
        """All of them, each counted once."""
        layer = self.layer_matrix_parameters + 2 * self.hidden
        embeddings = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return self.layers * layer + embeddings + self.hidden

    @property
    def weight_bytes(self) -> int:
        """Of the weights in float32, in memory and as they are stored."""
        return BYTES * self.parameters

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of low-rank adapters on every matrix of the layers."""
        return self.layers * rank * sum(rows + columns for rows, columns in self.matrices)


def shape_of(config: Mapping[str, Any], *, field: str) -> ModelShape:
    """The shape in a transformers configuration.

    `InvalidInput` at ``field`` for one that lacks a size, and for a mixture of experts, whose
    arithmetic is another.
    """
    text: Mapping[str, Any] = config.get("text_config") or config
    if any(text.get(name) for name in _EXPERTS):
        problem = "is a mixture of experts, whose work is not known here"
        raise InvalidInput(field, problem, "plan with a dense model of its active size")
    heads, hidden = _size(text, "num_attention_heads", field), _size(text, "hidden_size", field)
    return ModelShape(
        layers=_size(text, "num_hidden_layers", field),
        hidden=hidden,
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_size=text.get("head_dim") or hidden // heads,
        intermediate=_size(text, "intermediate_size", field),
        vocabulary=_size(text, "vocab_size", field),
        tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        context=text.get("max_position_embeddings"),
        shares_prompts=_shares_prompts(text),
    )


def shape_by_name(uri: str) -> tuple[str, ModelShape] | None:
    """The common model that is nearest in size to what a name such as ``org/some-7b-chat`` says."""
    found = _NAMED_SIZE.search(uri.rstrip("/").rpartition("/")[2])
    if found is None or not float(found[1]):
        return None
    named = float(found[1]) * (1e9 if found[2] in "bB" else 1e6)
    return min(COMMON.items(), key=lambda entry: abs(math.log(entry[1].parameters / named)))


def _size(config: Mapping[str, Any], name: str, field: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or value < 1:
        problem = f"has no {name} in its config.json"
        raise InvalidInput(field, problem, "use a decoder of the Llama kind, or plan without this model")
    return value


def _shares_prompts(config: Mapping[str, Any]) -> bool:
    layers = set(config.get("layer_types") or ["full_attention"])
    sliding = bool(config.get("sliding_window"))
    return config.get("model_type") in SHARING and layers == {"full_attention"} and not sliding


def _common(sizes: str, *, tied: bool) -> ModelShape:
    layers, hidden, heads, kv_heads, head_size, intermediate, vocabulary = map(int, sizes.split())
    return ModelShape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        intermediate=intermediate,
        vocabulary=vocabulary,
        tied=tied,
    )


COMMON: Mapping[str, ModelShape] = {
    "SmolLM2-135M": _common("30 576 9 3 64 1536 49152", tied=True),
    "SmolLM2-360M": _common("32 960 15 5 64 2560 49152", tied=True),
    "Qwen2.5-0.5B": _common("24 896 14 2 64 4864 151936", tied=True),
    "Llama-3.2-1B": _common("16 2048 32 8 64 8192 128256", tied=True),
    "SmolLM2-1.7B": _common("24 2048 32 32 64 8192 49152", tied=True),
    "Qwen2.5-3B": _common("36 2048 16 2 128 11008 151936", tied=True),
    "Mistral-7B": _common("32 4096 32 8 128 14336 32000", tied=False),
    "Llama-3.1-8B": _common("32 4096 32 8 128 14336 128256", tied=False),
    "Qwen2.5-14B": _common("48 5120 40 8 128 13824 152064", tied=False),
    "Qwen2.5-32B": _common("64 5120 40 8 128 27648 152064", tied=False),
    "Llama-3.1-70B": _common("80 8192 64 8 128 28672 128256", tied=False),
}
"""Shapes for models that are not on this machine, by size; from their publishers' config.json."""
