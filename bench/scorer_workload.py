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
    prompts: list[list[int]] = []
    start = 0
    for prompt, *_ in lengths:
        if start + prompt > len(text):
            start = 0
        prompts.append(text[start : start + prompt])
        start += prompt
    wanted = [(ids, count) for ids, (_, *own) in zip(prompts, lengths, strict=True) for count in own]
    found = iter(_sampled(model, wanted))
    return [[ids, next(found), next(found)] for ids in prompts]


def _text(chat: ChatTokenizer) -> list[int]:
    lines = [json.loads(line) for line in (TEXTS / "heldout.jsonl").read_text().splitlines()]
    return [
        token
        for line in lines
        for token in (*chat.prompt_ids(line["prompt"]).ids, *chat.response_ids(line["chosen"]))
    ]


@torch.no_grad()
def _sampled(model: PreTrainedModel, wanted: list[tuple[list[int], int]]) -> list[list[int]]:
    """So many tokens after each prompt, all in one batch."""
    torch.manual_seed(_SEED)
    ends = model.generation_config.eos_token_id
    width, count = max(len(ids) for ids, _ in wanted), max(count for _, count in wanted)
    padded = torch.tensor([[0] * (width - len(ids)) + ids for ids, _ in wanted])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in wanted])
    found = model.generate(
        padded,
        attention_mask=mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=count,
        suppress_tokens=ends if isinstance(ends, list) else [ends],
    )
    return [row[width : width + own].tolist() for row, (_, own) in zip(found, wanted, strict=True)]
