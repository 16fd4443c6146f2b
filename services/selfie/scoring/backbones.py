"""Final hidden states of the positions that predict response tokens, by one of two ways.

`SharedPrompts` computes each prompt once for all its responses, and no padding. It rests on an
attention function of our own, and is therefore used only for architectures that are known to need
nothing else, and only after it has reproduced the plain way on a sample. `PaddedRows` is that plain
way: every row whole, padded on the right, where a causal model's earlier positions do not see it.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog
import torch
from torch import Tensor
from transformers import PreTrainedModel

from selfie.scoring.packing import pack, packed_batches
from selfie.scoring.rows import Row
from selfie.scoring.shared_prompt import ATTENTION, Layout

log = structlog.get_logger()

SHARING = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures whose layers mix positions by full causal attention and rotary positions alone."""

_FIXED_ROTATION = frozenset({"default", "linear", "llama3", "yarn"})
_PROBE = (Row((5, 7, 11, 13), (17, 19, 23)), Row((5, 7, 11, 13), (29, 31, 37, 41, 43)), Row((7,), (3,)))
_PROBE_TOLERANCE = 1e-3


class Backbone(Protocol):
    """How rows go through a model's body."""

    @property
    def shares_prompts(self) -> bool:
        """Whether a prompt is computed once for all its responses."""
        ...

    def batches(self, rows: Sequence[Row], token_budget: int) -> list[list[int]]:
        """Indices of the rows in batches that are computed at once, within the budget of tokens."""
        ...

    def states(self, models: Sequence[PreTrainedModel], rows: Sequence[Row]) -> list[Tensor]:
        """Of each model: final, normalised hidden states [response tokens of all rows, hidden]."""
        ...


class SharedPrompts:
    """Rows laid end to end, each prompt once."""

    shares_prompts = True

    def batches(self, rows: Sequence[Row], token_budget: int) -> list[list[int]]:
        return packed_batches(rows, token_budget)

    def states(self, models: Sequence[PreTrainedModel], rows: Sequence[Row]) -> list[Tensor]:
        packed, device = pack(rows), models[0].device
        layout = Layout.of(packed.groups, dtype=models[0].dtype, device=device)
        ids = torch.tensor([packed.ids], device=device)
        positions = torch.tensor([packed.positions], device=device)
        scored = torch.tensor(packed.scored, device=device)
        return [
            _last_states(model, input_ids=ids, position_ids=positions, layout=layout)[0, scored]
            for model in models
        ]


class PaddedRows:
    """Every row whole, those of similar length together."""

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

    def states(self, models: Sequence[PreTrainedModel], rows: Sequence[Row]) -> list[Tensor]:
        ids = [torch.tensor(row.prompt_ids + row.response_ids) for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(models[0].device)
        places = _scored_places(rows, width=padded.shape[1]).to(padded.device)
        return [_last_states(model, input_ids=padded).flatten(0, 1)[places] for model in models]


@torch.no_grad()
def backbone_for(models: Sequence[PreTrainedModel]) -> Backbone:
    """The fastest way that is right for all of the models; those that can share are set up for it."""
    unfit = sorted({_name(model) for model in models if not _can_share(model)})
    if unfit:
        log.info("prompts are not shared", models=unfit, reason="not known to be fit for it")
        return PaddedRows()
    plain = PaddedRows().states(models, _PROBE)
    for model in models:
        model.set_attn_implementation(ATTENTION)
    shared = SharedPrompts().states(models, _PROBE)
    if all(torch.allclose(a, b, atol=_PROBE_TOLERANCE) for a, b in zip(plain, shared, strict=True)):
        return SharedPrompts()
    log.warning("prompts are not shared", models=[_name(m) for m in models], reason="it changes the result")
    return PaddedRows()


def _can_share(model: PreTrainedModel) -> bool:
    config = model.config.get_text_config()
    rotation = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config.model_type in SHARING
        and config._attn_implementation in ("sdpa", ATTENTION)
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
