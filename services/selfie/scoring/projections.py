"""Matrix products with the weights of a layer, written where their result is wanted.

What is multiplied has the dtype of the weights, and so has what is written; what is added onto may be of a
larger one.
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
        torch.mm(x, self.weight.T, out=out)
        if self.bias is not None:
            out += self.bias

    def add(self, x: Tensor, out: Tensor) -> None:
        """Onto what ``out`` holds."""
        if out.dtype == x.dtype:
            out.addmm_(x, self.weight.T)
        else:
            out += torch.mm(x, self.weight.T)
        if self.bias is not None:
            out += self.bias


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
    elif dtype != weight.dtype:
        # A copy anyway, so that it may lie as products on processors read it: input by input.
        weight = weight.to(dtype).T.contiguous().T
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    bias = torch.cat(biases).to(dtype) if biases else None
    return Projection(weight, bias)
