"""Draws token ids from logits, each sample from a random stream of its own.

A sample must not depend on what else is in its batch, or a run could not be audited by its
recorded seeds. So every sample has its own stream of uniforms, keyed by its seed and read by
position. But logits do depend on the batch, in their last bits: sums are rounded in another
order. A single cumulative distribution over a vocabulary has so many boundaries that some draw
would soon fall between an old and a new one. Therefore a token is found by a binary tree, with
a uniform for each of its levels: equal seed, prompt and weights give equal ids, except where
one of a dozen comparisons is a tie to the last bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

# A nucleus rarely holds more tokens than this; a row that does is sorted in full.
_NUCLEUS_GUESS = 512


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """How the next token is chosen; ``temperature`` 0 is greedy, ``top_p`` 1 keeps every token."""

    temperature: float
    top_p: float
    max_new_tokens: int


def levels(vocabulary_size: int) -> int:
    """Uniforms that one token takes: the depth of a binary tree over the vocabulary."""
    return (vocabulary_size - 1).bit_length()


def uniforms(seeds: Sequence[int], *, positions: int, vocabulary_size: int) -> torch.Tensor:
    """The uniforms in [0, 1) of each seed's tokens: float64 ``[seeds, positions, levels]``.

    Taken from Philox's raw 64-bit words, which numpy promises never to change (its
    distributions carry no such promise).
    """
    depth = levels(vocabulary_size)
    words = np.empty((len(seeds), positions * depth), dtype=np.uint64)
    for row, seed in enumerate(seeds):
        words[row] = np.random.Philox(key=seed).random_raw(positions * depth)
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy(unit.reshape(len(seeds), positions, depth))


def choose(logits: torch.Tensor, draws: torch.Tensor, parameters: SamplingParameters) -> torch.Tensor:
    """One token id for each row.

    ``logits`` is float32 ``[rows, vocabulary]`` and is overwritten, ``draws`` float64
    ``[rows, levels]`` in [0, 1). Returns int64 ``[rows]``.
    """
    if parameters.temperature == 0.0:
        return logits.argmax(dim=-1)
    weights = logits.sub_(logits.amax(dim=-1, keepdim=True)).div_(parameters.temperature).exp_()
    if parameters.top_p < 1.0:
        _keep_nucleus(weights, parameters.top_p)
    return _descend(_fold(weights), draws)


def _fold(weights: torch.Tensor) -> list[torch.Tensor]:
    """The tree's levels, leaves first, without the root; siblings are half a level apart."""
    tree = []
    while weights.shape[-1] > 1:
        if weights.shape[-1] % 2:
            weights = torch.nn.functional.pad(weights, (0, 1))
        tree.append(weights)
        half = weights.shape[-1] // 2
        weights = weights[:, :half] + weights[:, half:]
    return tree


def _descend(tree: list[torch.Tensor], draws: torch.Tensor) -> torch.Tensor:
    """From the root to a leaf, never into a branch of weight 0."""
    place = torch.zeros(len(draws), 1, dtype=torch.int64, device=draws.device)
    for depth, level in enumerate(reversed(tree)):
        half = level.shape[-1] // 2
        first = level.gather(-1, place).double()
        second = level.gather(-1, place + half).double()
        goes_on = draws[:, depth : depth + 1] * (first + second) >= first
        place = place + half * goes_on
    return place.squeeze(-1)


def _keep_nucleus(weights: torch.Tensor, top_p: float) -> None:
    """Zeroes what lies outside the smallest set of likeliest tokens with mass ``top_p``."""
    wanted = weights.sum(dim=-1, keepdim=True) * top_p
    guess = min(_NUCLEUS_GUESS, weights.shape[-1])
    floor, found = _nucleus_floor(weights.topk(guess, dim=-1).values, wanted)
    missed = (~found).nonzero().squeeze(-1)
    if len(missed):
        ordered = weights[missed].sort(dim=-1, descending=True).values
        floor[missed] = _nucleus_floor(ordered, wanted[missed])[0]
    weights.masked_fill_(weights < floor, 0.0)


def _nucleus_floor(descending: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight of the token that completes the mass, ``[rows, 1]``, and whether it was reached."""
    mass = descending.cumsum(dim=-1)
    reached = mass[:, -1:] >= wanted
    last = (mass < wanted).sum(dim=-1, keepdim=True).clamp_max(descending.shape[-1] - 1)
    return descending.gather(-1, last), reached.squeeze(-1)
