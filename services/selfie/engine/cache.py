"""Key and value cache that rows can leave.

The cache of transformers grows by concatenation, which copies all of it for every token,
and a row that has ended stays in it. This one is allocated once for the longest response
(memory that is never written is never backed by pages), written in place, and closes the gap
of an ended row by moving the last row there.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class RowLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped
    """One layer: ``[rows, key-value heads, capacity, head size]``, of which a prefix is in use."""

    is_sliding = False
    is_croppable = False

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, *, length: int) -> None:
        super().__init__()
        self.keys = keys
        self.values = values
        self.length = length
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to do: the buffers come with the constructor."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends to the rows still there and returns views of all that they hold."""
        rows, end = key_states.shape[0], self.length + key_states.shape[2]
        self.keys[:rows, :, self.length : end] = key_states
        self.values[:rows, :, self.length : end] = value_states
        self.length = end
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys seen by the next query, and the index of the first of them."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Positions in use, left padding included."""
        return self.length

    def get_max_length(self) -> int:
        """Capacity in positions."""
        return self.keys.shape[2]

    def fill(self, keys: torch.Tensor, values: torch.Tensor, *, spread: torch.Tensor, start: int) -> None:
        """Right-aligns the prompts that ``spread`` names in rows ``start…``; ``keys`` is ``[prompts, …]``."""
        rows, begin = slice(start, start + len(spread)), self.length - keys.shape[2]
        for buffer, source in ((self.keys, keys), (self.values, values)):
            # Masked positions count with weight 0, and 0 times the NaN of fresh memory is NaN.
            buffer[rows, :, :begin] = 0
            buffer[rows, :, begin : self.length] = source[spread]

    def move(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copies the used part of rows ``source`` over rows ``target``."""
        self.keys[target, :, : self.length] = self.keys[source, :, : self.length]
        self.values[target, :, : self.length] = self.values[source, :, : self.length]


class RowCache(Cache):  # type: ignore[misc]
    """All layers, for a batch that only shrinks."""

    def __init__(self, *, rows: int, width: int, capacity: int) -> None:
        """Room for ``rows`` rows of ``capacity`` positions, the first ``width`` of them for prompts."""
        super().__init__(layers=[])
        self.layers: list[RowLayer]
        self._rows = rows
        self._width = width
        self._capacity = capacity

    def fill(self, prefix: Cache, *, spread: torch.Tensor, start: int) -> None:
        """Gives rows ``start…`` the prompts of ``prefix`` that the indices ``spread`` name, right-aligned."""
        if not self.layers:
            self.layers = [self._empty(layer) for layer in prefix.layers]
        for layer, filled in zip(self.layers, prefix.layers, strict=True):
            layer.fill(filled.keys, filled.values, spread=spread, start=start)

    def move(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copies rows ``source`` over rows ``target`` in every layer."""
        for layer in self.layers:
            layer.move(source, target)

    def _empty(self, like: CacheLayerMixin) -> RowLayer:
        """A layer with the shape and number format of ``like``."""
        keys, values = (
            some.new_empty(self._rows, some.shape[1], self._capacity, some.shape[3])
            for some in (like.keys, like.values)
        )
        return RowLayer(keys, values, length=self._width)
