"""What the scorer and its peers are measured on: prompts and pairs of responses of natural text.

`fixed` has prompts and responses of 200 tokens each. `lognormal` has prompts of 150 tokens in the median
(s 0.8, at most 768) and responses of 180 (s 0.7, at most 512). All are cut from the quickstart's texts, one
after the other: sampling them would take longer than scoring them, and changes no speed.
"""

import json
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selfie.models.chat import ChatTokenizer

TEXTS = Path(__file__).resolve().parents[1] / "examples/quickstart"
_SEED = 7


class Pair(NamedTuple):
    """Token ids of a prompt and of two responses to it."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def workload(name: str, pairs: int, directory: Path) -> list[Pair]:
    """So many pairs, in the tokens of the model in a directory."""
    text = cycle(_text(ChatTokenizer(directory)))
    return [Pair(*(tuple(islice(text, count)) for count in counts)) for counts in _lengths(name, pairs)]


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
