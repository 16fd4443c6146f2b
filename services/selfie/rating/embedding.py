"""Embeddings of responses: what a frozen model makes of them, given their prompts.

An embedding is the mean, over the positions of the response, of the model's final, normalised
hidden states. Rows are padded on the right, where a causal model's earlier positions do not see it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from selfie.method.arrays import FloatArray, floats

TOKENS_AT_ONCE = 4096
"""Tokens of a batch, padding included; a longer row is a batch by itself."""


@dataclass(frozen=True)
class Row:
    """Token ids of a response and of its prompt."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@torch.inference_mode()
def embed(model: PreTrainedModel, rows: Sequence[Row], tick: Callable[[int], None]) -> FloatArray:
    """Embeddings [n, hidden] of n rows, summed in float32; not a number for a response without tokens.

    ``tick`` is told how many rows are done, batch by batch. The same rows give the same numbers.
    """
    found = torch.zeros(len(rows), model.config.get_text_config().hidden_size)
    for batch in batches([row.tokens for row in rows]):
        found[batch] = _means(model, [rows[index] for index in batch]).cpu()
        tick(len(batch))
    return floats(found.numpy())


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of rows that are computed at once, the longest first."""
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and longest * (len(batch) + 1) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        if not batch:
            longest = lengths[index]
        batch.append(index)
    if batch:
        yield batch


def _means(model: PreTrainedModel, rows: Sequence[Row]) -> Tensor:
    """Embeddings [rows, hidden] of one batch."""
    ids = [torch.tensor([*row.prompt_ids, *row.response_ids]) for row in rows]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(model.device)
    states: Tensor = model.base_model(input_ids=padded, use_cache=False).last_hidden_state
    spans = [(len(row.prompt_ids), row.tokens) for row in rows]
    means = [each[start:end].float().mean(dim=0) for each, (start, end) in zip(states, spans, strict=True)]
    return torch.stack(means)
