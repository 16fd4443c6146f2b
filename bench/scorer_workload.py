"""What the scorer and its peers are measured on: pairs of natural prompts and sampled responses.

`fixed` has prompts and responses of 200 tokens each. `lognormal` has prompts of 150 tokens in the median
(s 0.8, at most 768) and responses of 180 (s 0.7, at most 512). Responses are sampled from the reference at
temperature 1, without its end of turn, so that they are as long as they are meant to be; they are kept, as
sampling them takes longer than scoring them.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from selfie.models.chat import ChatTokenizer

TEXTS = Path(__file__).resolve().parents[1] / "examples/quickstart"
_SEED = 7


class Pair(NamedTuple):
    """Token ids of a prompt and of two responses to it."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def workload(name: str, pairs: int, model: PreTrainedModel, directory: Path, kept: Path) -> list[Pair]:
    """So many pairs; sampled once, and read from the directory ``kept`` after that."""
    file = kept / f"{name}-{pairs}-{directory.name}.json"
    if not file.exists():
        made = _made(_lengths(name, pairs), model, ChatTokenizer(directory))
        kept.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made))
    return [Pair(*(tuple(ids) for ids in pair)) for pair in json.loads(file.read_text())]


def _lengths(name: str, pairs: int) -> list[tuple[int, int, int]]:
    """Of prompt and both responses."""
    if name == "fixed":
        return [(200, 200, 200)] * pairs
    rng = np.random.default_rng(_SEED)
    prompts = np.minimum(rng.lognormal(np.log(150), 0.8, pairs), 768).astype(int)
    responses = np.minimum(rng.lognormal(np.log(180), 0.7, (pairs, 2)), 512).astype(int)
    found = np.maximum(np.column_stack([prompts, responses]), 2)
    return [tuple(row) for row in found.tolist()]


def _made(
    lengths: list[tuple[int, int, int]], model: PreTrainedModel, chat: ChatTokenizer
) -> list[list[list[int]]]:
    text = _text(chat)
    pairs, start = [], 0
    for prompt, *responses in lengths:
        if start + prompt > len(text):
            start = 0
        ids = text[start : start + prompt]
        start += prompt
        pairs.append([ids, *(_sampled(model, ids, count) for count in responses)])
    return pairs


def _text(chat: ChatTokenizer) -> list[int]:
    lines = [json.loads(line) for line in (TEXTS / "heldout.jsonl").read_text().splitlines()]
    return [
        token
        for line in lines
        for token in (*chat.prompt_ids(line["prompt"]).ids, *chat.response_ids(line["chosen"]))
    ]


@torch.no_grad()
def _sampled(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    torch.manual_seed(_SEED + len(prompt) * 1000 + count)
    ends = model.generation_config.eos_token_id
    found = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_new_tokens=count,
        max_new_tokens=count,
        suppress_tokens=ends if isinstance(ends, list) else [ends],
    )
    return [int(token) for token in found[0, len(prompt) :]]
