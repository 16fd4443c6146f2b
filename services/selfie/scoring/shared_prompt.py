"""Attention over a packed sequence in which several responses follow one prompt.

A prompt sees itself, a response sees its prompt and itself, and nothing sees anything else: the same
sums as if every response stood alone behind its prompt, without computing the prompt again. Scaled
dot-product attention is called for each span, so no mask of all tokens by all tokens is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from selfie.scoring.packing import Group

ATTENTION = "selfie_shared_prompt"
"""Name under which transformers finds the function; without a `Layout` it is plain `sdpa`."""


@dataclass(frozen=True)
class Layout:
    """The groups of a packed sequence, with a mask [response, prompt + response] for each response.

    Masks are additive and the same for all layers; a response of one token has none, as it is empty here.
    """

    groups: Sequence[tuple[slice, Sequence[tuple[slice, Tensor]]]]

    @classmethod
    def of(cls, groups: Sequence[Group], *, dtype: torch.dtype, device: torch.device) -> "Layout":
        """The layout for models of one dtype on one device."""
        return cls(
            [
                (
                    group.prompt,
                    [
                        (span, _mask(group.prompt, span, dtype, device))
                        for span in group.responses
                        if span.start < span.stop
                    ],
                )
                for group in groups
            ]
        )


def shared_prompt_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *attention_mask: Tensor | None,
    layout: Layout | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention [1, tokens, heads, size] of query, key and value [1, heads, tokens, size]."""
    if layout is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, *attention_mask, **others
        )
        return plain
    scaling = others["scaling"]
    key, value = (repeat_kv(each, query.shape[1] // each.shape[1]) for each in (key, value))
    # Laid out as what follows wants it, so that nothing is copied once more.
    found = query.new_empty(query.shape[0], query.shape[2], query.shape[1], query.shape[3])
    out = found.transpose(1, 2)
    attend = torch.nn.functional.scaled_dot_product_attention
    for prompt, responses in layout.groups:
        own_key, own_value = key[:, :, prompt], value[:, :, prompt]
        out[:, :, prompt] = attend(query[:, :, prompt], own_key, own_value, is_causal=True, scale=scaling)
        for span, mask in responses:
            seen_key = torch.cat((own_key, key[:, :, span]), dim=2)
            seen_value = torch.cat((own_value, value[:, :, span]), dim=2)
            out[:, :, span] = attend(query[:, :, span], seen_key, seen_value, attn_mask=mask, scale=scaling)
    return found, None


def _mask(prompt: slice, span: slice, dtype: torch.dtype, device: torch.device) -> Tensor:
    before, own = prompt.stop - prompt.start, span.stop - span.start
    mask = torch.zeros(own, before + own, dtype=dtype, device=device)
    later = torch.ones(own, own, dtype=torch.bool, device=device).triu(1)
    mask[:, before:].masked_fill_(later, -torch.inf)
    return mask


AttentionInterface.register(ATTENTION, shared_prompt_attention)
