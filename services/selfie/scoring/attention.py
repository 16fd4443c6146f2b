"""Attention over a packed sequence in which several responses follow one prompt.

A prompt sees itself, a response sees its prompt and itself, and nothing sees anything else: the same
sums as if every response stood alone behind its prompt, without computing the prompt again. No mask of
all tokens by all tokens is ever made. On processors all responses look at their prompt at once and each
at itself, and the two are merged by their normalisers; elsewhere each looks at both through a mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from selfie.scoring.packing import Group

KeysValues: TypeAlias = tuple[Tensor, Tensor]


class Looking(NamedTuple):
    """Queries [heads, queries of each, tokens, size]; keys and values [heads, 1, tokens, size].

    Heads are those that are looked at, of all copies one after another.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor

    def for_all_queries(self) -> "Looking":
        """Keys and values for every query of their heads, without a copy of any."""
        count = self.queries.shape[1]
        return Looking(
            self.queries, self.keys.expand(-1, count, -1, -1), self.values.expand(-1, count, -1, -1)
        )

    def at(self, span: slice) -> "Looking":
        """Those of some tokens."""
        return Looking(*(each[:, :, span] for each in self))

    def of(self, heads: slice) -> "Looking":
        """Those of some heads."""
        return Looking(*(each[heads] for each in self))


@dataclass(frozen=True)
class Heads:
    """How many heads query, how many are looked at, and the size of each; several query one."""

    query: int
    key: int
    size: int

    @property
    def width(self) -> int:
        """Of queries, keys and values side by side."""
        return (self.query + 2 * self.key) * self.size


@dataclass(frozen=True)
class Layout:
    """The groups of a packed sequence; ``kept[i]`` is the index of the prompt that group i continues.

    None is a prompt that is in the sequence itself.
    """

    groups: Sequence[Group]
    kept: Sequence[int | None]

    @classmethod
    def of(cls, groups: Sequence[Group]) -> "Layout":
        """The layout of groups whose prompts are kept where they have none of their own."""
        kept, known = [], 0
        for group in groups:
            inside = group.prompt.start < group.prompt.stop
            kept.append(None if inside else known)
            known += not inside
        return cls(groups, kept)


def rotated(mixed: Tensor, heads: Heads, cos: Tensor, sin: Tensor) -> Looking:
    """Queries, keys and values, the first two turned by position.

    ``mixed`` is [copies, tokens, width]; ``cos`` and ``sin`` are [tokens, size / 2].
    """
    copies, tokens, _ = mixed.shape
    parts = mixed.view(copies, tokens, -1, heads.size).transpose(1, 2)
    turning, values = parts[:, : heads.query + heads.key], parts[:, heads.query + heads.key :]
    half = heads.size // 2
    first, second = turning[..., :half], turning[..., half:]
    turned = mixed.new_empty(turning.shape)
    torch.mul(first, cos, out=turned[..., :half])
    turned[..., :half].addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=turned[..., half:])
    turned[..., half:].addcmul_(first, sin)
    return Looking(
        turned[:, : heads.query].reshape(copies * heads.key, -1, tokens, heads.size),
        turned[:, heads.query :].reshape(copies * heads.key, 1, tokens, heads.size),
        values.reshape(copies * heads.key, 1, tokens, heads.size),
    )


def attend(
    looking: Looking, layout: Layout, kept: Sequence[KeysValues], *, scaling: float, out: Tensor
) -> None:
    """Into ``out``, of the shape of the queries.

    ``kept`` are keys and values of prompts that are not in the sequence, each [heads, tokens, size].
    """
    responses_look = _merged if looking.queries.device.type == "cpu" else _masked
    everything = looking.for_all_queries()
    for group, index in zip(layout.groups, layout.kept, strict=True):
        if index is None:
            prompt = everything.at(group.prompt)
            out[:, :, group.prompt] = torch.nn.functional.scaled_dot_product_attention(
                *prompt, is_causal=True, scale=scaling
            )
            seen = prompt.keys, prompt.values
        else:
            key, value = (each[:, None].expand(-1, out.shape[1], -1, -1) for each in kept[index])
            seen = key, value
        spans = [span for span in group.responses if span.start < span.stop]
        if spans:
            responses_look(everything, seen, spans, scaling, out)


def _merged(looking: Looking, seen: KeysValues, spans: Sequence[slice], scaling: float, out: Tensor) -> None:
    """Of all responses at once to their prompt, and of each to itself."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    all_of_them = slice(spans[0].start, spans[-1].stop)
    before, before_sum = attention(looking.queries[:, :, all_of_them], *seen, scale=scaling)
    for span in spans:
        itself, own_sum = attention(*looking.at(span), is_causal=True, scale=scaling)
        here = slice(span.start - all_of_them.start, span.stop - all_of_them.start)
        # The share of the prompt in the sum over both.
        share = torch.sub(before_sum[:, :, here], own_sum).sigmoid_()[..., None].to(itself.dtype)
        torch.lerp(itself, before[:, :, here], share, out=out[:, :, span])


def _masked(looking: Looking, seen: KeysValues, spans: Sequence[slice], scaling: float, out: Tensor) -> None:
    """Of each response to its prompt and itself."""
    before = seen[0].shape[2]
    for span in spans:
        own = looking.at(span)
        key, value = torch.cat((seen[0], own.keys), dim=2), torch.cat((seen[1], own.values), dim=2)
        mask = torch.ones(own.queries.shape[2], key.shape[2], dtype=torch.bool, device=out.device)
        out[:, :, span] = torch.nn.functional.scaled_dot_product_attention(
            own.queries, key, value, attn_mask=mask.tril(before), scale=scaling
        )
