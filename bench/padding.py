"""Prompts of different lengths in one batch, as transformers' `generate` wants them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, each [prompts, longest]."""
    rows = [torch.tensor(prompt) for prompt in prompts]
    options: dict[str, Any] = {"batch_first": True, "padding_side": "left"}
    ids = pad_sequence(rows, **options)
    return ids, pad_sequence([torch.ones_like(row) for row in rows], **options)
