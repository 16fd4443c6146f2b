"""What the scorer and its peers are measured on: prompts and pairs of responses of natural text.

`fixed` has prompts and responses of 200 tokens each. `lognormal` has prompts of 150 tokens in the median
(s 0.8, at most 768) and responses of 180 (s 0.7, at most 512). Prompts are cut from the quickstart's texts,
one after the other; responses are what the model draws to them, at temperature 1, and never end early.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from padding import left_padded
from transformers import PreTrainedModel

from selfie.models.chat import ChatTokenizer
from selfie.models.loading import load_policy

TEXTS = Path(__file__).resolve().parents[1] / "examples/quickstart"
_SEED = 7


class Pair(NamedTuple):
    """Token ids of a prompt and of two responses to it."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def workload(name: str, pairs: int, directory: Path) -> list[Pair]:
    """So many pairs, in the tokens of the model in a directory; the same ones every time."""
    chat = ChatTokenizer(directory)
    text = cycle(_text(chat))
    lengths = _lengths(name, pairs)
    prompts = [tuple(islice(text, count)) for count, *_ in lengths]
    drawn = _drawn(load_policy(directory).bfloat16(), prompts, max(map(max, lengths)), chat.end_of_turn_ids)
    return [
        Pair(prompt, *(tuple(row[:count]) for row, count in zip(rows, counts, strict=True)))
        for prompt, rows, (_, *counts) in zip(prompts, drawn, lengths, strict=True)
    ]


@torch.no_grad()
def _drawn(
    model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], tokens: int, ends: Collection[int]
) -> Iterator[list[list[int]]]:
    """Two responses of so many tokens to each prompt, without the tokens that end a turn."""
    torch.manual_seed(_SEED)
    ids, seen = left_padded([prompt for prompt in prompts for _ in range(2)])
    drawn = model.generate(
        ids,
        attention_mask=seen,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        suppress_tokens=sorted(ends),
    )
    found = drawn[:, -tokens:].tolist()
    return (found[first : first + 2] for first in range(0, len(found), 2))


def _lengths(name: str, pairs: int) -> list[tuple[int, int, int]]:
    """Of prompt and both responses."""
    if name == "fixed":
        return [(200, 200, 200)] * pairs
    rng = np.random.default_rng(_SEED)
    prompts = np.minimum(rng.lognormal(np.log(150), 0.8, pairs), 768).astype(int)
    responses = np.minimum(rng.lognormal(np.log(180), 0.7, (pairs, 2)), 512).astype(int)
    found = np.maximum(np.column_stack([prompts, responses]), 2)
    return [tuple(row) for row in found.tolist()]


def _text(chat: ChatTokenizer) -> list[int]:
    lines = [json.loads(line) for line in (TEXTS / "heldout.jsonl").read_text().splitlines()]
    return [
        token for line in lines for side in ("chosen", "rejected") for token in chat.response_ids(line[side])
    ]
