"""Which pairs make up which optimizer step: decided by the run's random seed and nothing else."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


class PairOrder(Sampler[int]):
    """Order of the pairs; each ``batch`` of them in a row, within an epoch, is one optimizer step.

    Within a step the pairs stand in order of length, so that micro-batches of similar pairs are
    padded little; which pairs a step has does not depend on it. ``steps_done`` is asked at the
    start of each epoch: asking beats being told, since a resumed data loader is told nothing.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch: int, seed: int, steps_done: Callable[[], int] = lambda: 0
    ) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._steps_done = steps_done
        self.steps_per_epoch = math.ceil(len(lengths) / batch)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        epoch = self._steps_done() // self.steps_per_epoch
        shuffled = self._shuffled(epoch)
        for index in range(self.steps_per_epoch):
            yield from self._step(shuffled, index)

    def step(self, number: int) -> list[int]:
        """Rows of one optimizer step, counted from 0 over all epochs; an epoch's last may be short."""
        epoch, index = divmod(number, self.steps_per_epoch)
        return self._step(self._shuffled(epoch), index)

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self))

    def _step(self, shuffled: npt.NDArray[np.int64], index: int) -> list[int]:
        rows: list[int] = shuffled[index * self._batch : (index + 1) * self._batch].tolist()
        return sorted(rows, key=lambda row: (self._lengths[row], row))
