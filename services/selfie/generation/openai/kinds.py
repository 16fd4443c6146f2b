"""What is known of each kind of server, read in vLLM 0.33.0, SGLang 0.5.23 and transformers 5.23.0. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from selfie.generation.openai.answers import ModelCard


@dataclass(frozen=True)
class Kind:
    """How one kind of server is spoken to.

    ``seed_bits``: seeds that it takes are below two to this power. ``seeds_count_up``: of ``n``
    samples, each has the seed of the one before plus one; otherwise they may share one, and are
    asked for one by one. ``stops_at_ids``: takes ``stop_token_ids``. ``loads_by_name``: the model
    that a request names is the one that answers, or the request is refused; others answer with
    what they have, under any name. ``neutral``: what makes it keep the whole distribution.
    """

    name: str
    seed_bits: int = 31
    seeds_count_up: bool = False
    stops_at_ids: bool = False
    loads_by_name: bool = False
    neutral: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


VLLM = Kind("vllm", seed_bits=62, seeds_count_up=True, stops_at_ids=True, loads_by_name=True)
SGLANG = Kind("sglang", seed_bits=62, stops_at_ids=True)
LLAMA_CPP = Kind("llama.cpp", neutral=MappingProxyType({"top_k": 0, "min_p": 0.0}))
TRANSFORMERS = Kind("transformers", seed_bits=62, loads_by_name=True)
PLAIN = Kind("openai")

_OWNERS = {"vllm": VLLM, "sglang": SGLANG, "llamacpp": LLAMA_CPP}


def kind_by_owner(cards: Sequence[ModelCard]) -> Kind | None:
    """The kind of a server by who owns its models."""
    return next((_OWNERS[card.owned_by] for card in cards if card.owned_by in _OWNERS), None)


def kind_by_routes(routes: Sequence[str]) -> Kind:
    """The kind of a server that does not say who it is, by the routes that it describes, if it does."""
    return TRANSFORMERS if {"/load_model", "/v1/completions"} <= set(routes) else PLAIN
