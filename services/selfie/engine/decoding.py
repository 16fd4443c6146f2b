"""Decodes a batch of prompts to the end of every response.

The work per token is one forward pass over the rows still alive and one vectorised draw.
The rows of one prompt share its prefill; a row that ends leaves the batch at once, so a few
long responses do not pay for the many that have ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from selfie.engine.cache import RowCache
from selfie.engine.sampling import SamplingParameters, choose, uniforms

# Positions of one prefill pass, padding included: bounds its activations.
_PREFILL_TOKENS = 8192
# Padding of one prefill pass that is cheaper than a second pass, in positions.
_PADDING = 64

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of one prompt; one response is sampled for each seed."""

    ids: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """Sampled ids; the last one is an end-of-turn token iff ``finish_reason`` is ``stop``."""

    ids: tuple[int, ...]
    finish_reason: FinishReason
    seed: int


@dataclass(slots=True)
class _Rows:
    """The rows still alive; position ``i`` of each tensor belongs to row ``i`` of the cache."""

    output: torch.Tensor  # int64 [live]: where the row's ids are written
    visible: torch.Tensor  # bool [live, capacity]: False on left padding
    padding: torch.Tensor  # int64 [live]
    draws: torch.Tensor  # float64 [live, max_new_tokens, levels]

    def drop(self, ended: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Moves the last living rows into the places of ended ones; returns the new order.

        ``ended`` is bool ``[live]``. At most as many rows are copied as have ended.
        """
        live = int((~ended).sum())
        holes = ended[:live].nonzero().squeeze(-1)
        movers = (~ended[live:]).nonzero().squeeze(-1) + live
        cache.move(movers, holes)
        order = torch.arange(live, device=ended.device)
        order[holes] = movers
        self.output, self.visible = self.output[order], self.visible[order]
        self.padding, self.draws = self.padding[order], self.draws[order]
        return order


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Prompt],
    parameters: SamplingParameters,
    *,
    end_ids: frozenset[int],
    abandoned: Callable[[], bool] = lambda: False,
) -> list[list[Response]] | None:
    """Samples one response for each seed of each prompt, in the order given.

    ``end_ids`` end a response and are kept in it. ``abandoned`` is asked once per token;
    when it says yes the answer is None.
    """
    ends = torch.tensor(sorted(end_ids), device=model.device)
    cache, rows, logits = _prefill(model, prompts, parameters.max_new_tokens)
    output = torch.zeros(rows.draws.shape[:2], dtype=torch.int64, device=model.device)
    lengths = torch.zeros_like(rows.output)
    for step in range(parameters.max_new_tokens):
        if abandoned():
            return None
        chosen = choose(logits, rows.draws[:, step], parameters)
        output[rows.output, step] = chosen
        lengths[rows.output] += 1
        ended = torch.isin(chosen, ends)
        if bool(ended.all()) or step + 1 == parameters.max_new_tokens:
            break
        if bool(ended.any()):
            chosen = chosen[rows.drop(ended, cache)]
        logits = _forward(model, chosen, rows, cache)
    return _responses(prompts, output.tolist(), lengths.tolist(), end_ids)


def _forward(model: PreTrainedModel, last: torch.Tensor, rows: _Rows, cache: RowCache) -> torch.Tensor:
    """Float32 logits ``[live, vocabulary]`` after the tokens ``last``."""
    length = cache.get_seq_length()
    answer = model(
        input_ids=last.unsqueeze(-1),
        attention_mask=rows.visible[:, : length + 1],
        position_ids=(length - rows.padding).unsqueeze(-1),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = answer.logits[:, -1].float()
    return logits


def _prefill(
    model: PreTrainedModel, prompts: Sequence[Prompt], max_new_tokens: int
) -> tuple[RowCache, _Rows, torch.Tensor]:
    """Computes each prompt once and spreads it over its rows; logits as `_forward` gives them."""
    rows = _rows(model, prompts, max_new_tokens)
    count, capacity = rows.visible.shape
    cache = RowCache(rows=count, width=capacity - max_new_tokens, capacity=capacity)
    logits, start = [], 0
    for part in _parts(prompts):
        prefix, last = _prefix(model, part)
        repeats = torch.tensor([len(prompt.seeds) for prompt in part], device=model.device)
        spread = torch.arange(len(part), device=model.device).repeat_interleave(repeats)
        cache.fill(prefix, spread=spread, start=start)
        logits.append(last[spread])
        start += len(spread)
    return cache, rows, torch.cat(logits)


def _parts(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """Neighbours that go through one prefill pass together: few enough, and of like length."""
    parts: list[list[Prompt]] = []
    for prompt in prompts:
        lengths = [len(one.ids) for one in (*parts[-1], prompt)] if parts else []
        padded, whole = max(lengths, default=0) * len(lengths), sum(lengths)
        if not parts or padded > _PREFILL_TOKENS or padded > whole + max(_PADDING, whole // 8):
            parts.append([])
        parts[-1].append(prompt)
    return parts


def _prefix(model: PreTrainedModel, prompts: Sequence[Prompt]) -> tuple[DynamicCache, torch.Tensor]:
    """Cache of left-padded prompts and the float32 logits after each."""
    width = max(len(prompt.ids) for prompt in prompts)
    # Any id will do under the mask.
    ids = torch.tensor([[0] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts])
    padding = torch.tensor([width - len(prompt.ids) for prompt in prompts])
    positions = torch.arange(width) - padding.unsqueeze(-1)
    cache = DynamicCache()
    answer = model(
        input_ids=ids.to(model.device),
        attention_mask=(positions >= 0).to(model.device),
        position_ids=positions.clamp_min(0).to(model.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return cache, answer.logits[:, -1].float()


def _rows(model: PreTrainedModel, prompts: Sequence[Prompt], max_new_tokens: int) -> _Rows:
    """The rows of all prompts, left-padded to the longest."""
    seeds = [seed for prompt in prompts for seed in prompt.seeds]
    size = model.config.get_text_config().vocab_size
    width = max(len(prompt.ids) for prompt in prompts)
    padding = torch.tensor([width - len(prompt.ids) for prompt in prompts for _ in prompt.seeds])
    return _Rows(
        output=torch.arange(len(padding), device=model.device),
        visible=(torch.arange(width + max_new_tokens) >= padding.unsqueeze(-1)).to(model.device),
        padding=padding.to(model.device),
        draws=uniforms(seeds, positions=max_new_tokens, vocabulary_size=size).to(model.device),
    )


def _responses(
    prompts: Sequence[Prompt], output: list[list[int]], lengths: list[int], end_ids: frozenset[int]
) -> list[list[Response]]:
    """Cuts the written ids back into responses by prompt."""
    written = iter(zip(output, lengths, strict=True))

    def response(seed: int) -> Response:
        row, length = next(written)
        ids = tuple(row[:length])
        return Response(ids=ids, finish_reason="stop" if ids[-1] in end_ids else "length", seed=seed)

    return [[response(seed) for seed in prompt.seeds] for prompt in prompts]
