"""A rank's part of an optimizer step: which of its pairs count, and how much."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from selfie.errors import FailedPrecondition


@dataclass(frozen=True)
class Share:
    """The ``index``-th of ``batches`` micro-batches that this rank has of a step of ``step`` pairs.

    ``size`` is that of a whole micro-batch. They are dealt out to the ranks in turn.
    """

    step: int
    size: int
    batches: int
    index: int
    rank: int = 0
    ranks: int = 1

    @property
    def real(self) -> int:
        """How many pairs at its front belong to the step.

        Where micro-batches do not come out even, ranks are given pairs of the epoch's beginning in
        place of those that are lacking, so that all of them have as much to do.
        """
        before = (self.index * self.ranks + self.rank) * self.size
        return min(max(self.step - before, 0), self.size)


def weighted(loss: Tensor, margins: Tensor, doubt: Tensor, share: Share) -> Tensor:
    """Makes the step's loss the mean over its pairs, however they are dealt out.

    ``loss`` is the mean over the micro-batch, of pairs with these margins, each doubted by a share.
    The trainer takes the mean over micro-batches and ranks, which weighs them all alike, also those
    that are short or padded.
    """
    parts = share.batches * share.ranks
    if share.real < len(margins):
        losses = functional.softplus(-margins) + doubt.to(margins.dtype) * margins
        # Every rank must take part in the exchange of gradients, also with none of its own.
        return (losses[: share.real].sum() + 0 * losses.sum()) * (parts / share.step)
    if len(margins) * parts == share.step:
        return loss
    return loss * (len(margins) * parts / share.step)


def finite(margins: Tensor, step: int) -> Tensor:
    """The margins; `FailedPrecondition` ``TrainingDiverged`` if one of them is no number."""
    if not bool(torch.isfinite(margins).all()):
        raise FailedPrecondition(
            "TrainingDiverged",
            f"a margin stopped being a number at step {step + 1}; lower the round's learningRate",
        )
    return margins
