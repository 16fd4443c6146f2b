"""Final hidden states of the positions that predict response tokens, by one of two ways.

`SharedPrompts` computes each prompt once for all its responses, and no padding. It rests on a forward
pass of our own, and is therefore used only for architectures that are known to need nothing else, and
only after it has reproduced the plain way on a sample. `PaddedRows` is that plain way: every row whole,
padded on the right, where a causal model's earlier positions do not see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
import torch
from torch import Tensor
from transformers import PreTrainedModel

from selfie.errors import FailedPrecondition
from selfie.scoring.adapters import Adapter
from selfie.scoring.attention import Layout
from selfie.scoring.decoder import Batch, Decoder
from selfie.scoring.packing import pack, packed_batches
from selfie.scoring.precision import Products
from selfie.scoring.prompts import PromptCache
from selfie.scoring.rows import Row

log = structlog.get_logger()

SHARING = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures whose layers mix positions by full causal attention and rotary positions alone."""

_FIXED_ROTATION = frozenset({"default", "linear", "llama3", "yarn"})
_PROBE = (Row((5, 7, 11, 13), (17, 19, 23)), Row((5, 7, 11, 13), (29, 31, 37, 41, 43)), Row((7,), (3,)))
_PROBE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Lane:
    """A model to score by: weights, and an adapter on them or none. ``key`` tells it from all others."""

    model: PreTrainedModel
    key: str
    adapter: Adapter | None = None


class Backbone(Protocol):
    """How rows go through the models' bodies."""

    @property
    def shares_prompts(self) -> bool:
        """Whether a prompt is computed once for all its responses."""
        ...

    def batches(self, rows: Sequence[Row], token_budget: int) -> list[list[int]]:
        """Indices of the rows in batches that are computed at once, within the budget of tokens."""
        ...

    def states(
        self, lanes: Sequence[Lane], rows: Sequence[Row], *, products: Products, keep_prompts: bool
    ) -> list[Tensor]:
        """By each lane: final, normalised hidden states [response tokens of all rows, hidden]."""
        ...


@dataclass
class SharedPrompts:
    """Rows laid end to end, each prompt once, and not at all where it was kept."""

    cache: PromptCache = field(default_factory=lambda: PromptCache(0))
    _decoders: dict[tuple[int, torch.dtype], Decoder] = field(default_factory=dict)

    shares_prompts = True

    def batches(self, rows: Sequence[Row], token_budget: int) -> list[list[int]]:
        return packed_batches(rows, token_budget)

    def states(
        self,
        lanes: Sequence[Lane],
        rows: Sequence[Row],
        *,
        products: Products = "float32",
        keep_prompts: bool = False,
    ) -> list[Tensor]:
        models = list({id(lane.model): lane.model for lane in lanes}.values())
        found: dict[str, Tensor] = {}
        for model in models:
            own = [lane for lane in lanes if lane.model is model]
            states = self._states_of(model, own, rows, products, keep_prompts=keep_prompts)
            found |= {lane.key: each for lane, each in zip(own, states, strict=True)}
        return [found[lane.key] for lane in lanes]

    def _states_of(
        self,
        model: PreTrainedModel,
        lanes: Sequence[Lane],
        rows: Sequence[Row],
        products: Products,
        *,
        keep_prompts: bool,
    ) -> Tensor:
        """Of lanes on one set of weights, which are computed as copies of one batch."""
        dtype = torch.bfloat16 if products == "bfloat16" else torch.float32
        decoder = self._decoders.get((id(model), dtype)) or Decoder(model, dtype)
        self._decoders[id(model), dtype] = decoder
        whose = (*(lane.key for lane in lanes), products)
        keeping = keep_prompts and self.cache.enabled
        prompts = list(dict.fromkeys(row.prompt_ids for row in rows)) if keeping else []
        kept = self.cache.recall(whose, prompts)
        packed = pack(rows, kept=frozenset(kept))
        device = model.device
        batch = Batch(
            ids=torch.tensor(packed.ids, dtype=torch.long, device=device),
            positions=torch.tensor(packed.positions, dtype=torch.long, device=device),
            layout=Layout.of(packed.groups),
            wanted=torch.tensor(packed.wanted, dtype=torch.long, device=device),
            scored=torch.tensor(packed.scored, dtype=torch.long, device=device),
            kept=[kept[ids] for ids in packed.kept],
            keep=list(packed.prompts.values()) if keeping else (),
        )
        found, new = decoder.states(batch, [lane.adapter for lane in lanes])
        for ids, prompt in zip(packed.prompts, new, strict=False):
            self.cache.keep(whose, ids, prompt)
        return found


class PaddedRows:
    """Every row whole, those of similar length together; in float32 alone, and without adapters."""

    shares_prompts = False

    def batches(self, rows: Sequence[Row], token_budget: int) -> list[list[int]]:
        """The longest first."""
        batches: list[list[int]] = []
        longest = 0
        for index in sorted(range(len(rows)), key=lambda i: -rows[i].tokens):
            if batches and longest * (len(batches[-1]) + 1) <= token_budget:
                batches[-1].append(index)
            else:
                batches.append([index])
                longest = rows[index].tokens
        return batches

    def states(
        self,
        lanes: Sequence[Lane],
        rows: Sequence[Row],
        *,
        products: Products = "float32",
        keep_prompts: bool = False,
    ) -> list[Tensor]:
        del products, keep_prompts
        ids = [torch.tensor(row.prompt_ids + row.response_ids) for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(lanes[0].model.device)
        places = _scored_places(rows, width=padded.shape[1]).to(padded.device)
        return [_last_states(lane.model, input_ids=padded).flatten(0, 1)[places] for lane in lanes]


@torch.no_grad()
def backbone_for(lanes: Sequence[Lane], cache: PromptCache | None = None) -> Backbone:
    """The fastest way that is right for all of the models; those that can share are set up for it."""
    adapted = any(lane.adapter for lane in lanes)
    unfit = sorted({_name(lane.model) for lane in lanes if not _can_share(lane.model)})
    if unfit:
        log.info("prompts are not shared", models=unfit, reason="not known to be fit for it")
        return _whole_rows(adapted=adapted)
    bare = [Lane(lane.model, lane.key) for lane in lanes]
    plain = PaddedRows().states(bare, _PROBE)
    sharing = SharedPrompts(cache or PromptCache(0))
    shared = sharing.states(bare, _PROBE)
    if all(torch.allclose(a, b, atol=_PROBE_TOLERANCE) for a, b in zip(plain, shared, strict=True)):
        return sharing
    names = [_name(lane.model) for lane in lanes]
    log.warning("prompts are not shared", models=names, reason="it changes the result")
    return _whole_rows(adapted=adapted)


def _whole_rows(*, adapted: bool) -> PaddedRows:
    if adapted:
        message = "this architecture is not scored with adapters; merge the policy into its base model"
        raise FailedPrecondition("UnsupportedAdapter", message)
    return PaddedRows()


def _can_share(model: PreTrainedModel) -> bool:
    config = model.config.get_text_config()
    rotation = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config.model_type in SHARING
        and config._attn_implementation == "sdpa"
        and rotation in _FIXED_ROTATION
        and layers == {"full_attention"}
        and not getattr(config, "sliding_window", None)
    )


def _name(model: PreTrainedModel) -> str:
    return str(model.config.get_text_config().model_type)


def _last_states(model: PreTrainedModel, **inputs: object) -> Tensor:
    """Final hidden states [rows, length, hidden]."""
    states: Tensor = model.base_model(**inputs, use_cache=False).last_hidden_state
    return states


def _scored_places(rows: Sequence[Row], *, width: int) -> Tensor:
    """Places in the flattened batch that predict response tokens, row by row."""
    spans = []
    for index, row in enumerate(rows):
        first = index * width + len(row.prompt_ids) - 1
        spans.append(torch.arange(first, first + len(row.response_ids)))
    return torch.cat(spans)
