"""Matrix products with the weights of a layer, written where their result is wanted.

Weights may be of a smaller dtype than what they are multiplied with: then both factors are rounded to it,
and what is added up stays as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Projection:
    """``x @ weight.T + bias``: ``weight`` is [out, in]."""

    weight: Tensor
    bias: Tensor | None = None

    def write(self, x: Tensor, out: Tensor) -> None:
        """Into ``out`` [rows, out], of the projection of ``x`` [rows, in]."""
        if self.weight.dtype != x.dtype:
            out.copy_(self._rounded(x))
            return
        torch.mm(x, self.weight.T, out=out)
        if self.bias is not None:
            out += self.bias

    def add(self, x: Tensor, out: Tensor) -> None:
        """Onto what ``out`` holds."""
        if self.weight.dtype != x.dtype:
            out += self._rounded(x)
            return
        out.addmm_(x, self.weight.T)
        if self.bias is not None:
            out += self.bias

    def _rounded(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias)


def fused(layers: Sequence[nn.Linear], dtype: torch.dtype) -> Projection:
    """Several layers of one input as one projection, their outputs side by side.

    Where nothing is rounded, the layers are made to look into the one weight, so that it is held once.
    """
    weight = layers[0].weight.detach()
    if len(layers) > 1:
        weight = torch.cat([layer.weight.detach() for layer in layers])
    if dtype == weight.dtype and len(layers) > 1:
        parts = torch.split(weight, [layer.out_features for layer in layers])
        for layer, part in zip(layers, parts, strict=True):
            layer.weight = nn.Parameter(part, requires_grad=False)
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    bias = torch.cat(biases).to(dtype) if biases else None
    return Projection(weight.to(dtype), bias)
