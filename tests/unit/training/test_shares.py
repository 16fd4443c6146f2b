"""However a step is dealt out, it is the mean over its pairs that is learned from."""

import math

import pytest
import torch
from torch.nn import functional

from selfie.errors import FailedPrecondition
from selfie.training.trainer.callbacks import Pace
from selfie.training.trainer.shares import Share, finite, weighted

SPLITS = [
    (16, 4, 1),
    (16, 4, 2),
    (16, 8, 2),
    (4, 5, 2),
    (9, 4, 1),
    (9, 4, 2),
    (1, 4, 4),
    (13, 2, 3),
]


def shares(step: int, size: int, ranks: int) -> list[list[Share]]:
    """Of each rank, its micro-batches in turn; all ranks have as many."""
    batches = math.ceil(math.ceil(step / size) / ranks)
    return [
        [Share(step, size, batches, index, rank, ranks) for index in range(batches)] for rank in range(ranks)
    ]


@pytest.mark.parametrize(("step", "size", "ranks"), SPLITS)
def test_every_pair_is_somebodys_once(step: int, size: int, ranks: int) -> None:
    assert sum(share.real for own in shares(step, size, ranks) for share in own) == step


@pytest.mark.parametrize(("step", "size", "ranks"), SPLITS)
def test_the_loss_is_the_mean_over_the_steps_pairs(step: int, size: int, ranks: int) -> None:
    generator = torch.Generator().manual_seed(step * size)
    margins, doubt = torch.randn(step, generator=generator), torch.rand(step, generator=generator)
    wanted = (functional.softplus(-margins) + doubt * margins).mean()
    means = []
    for own in shares(step, size, ranks):
        losses = []
        for share in own:
            before = (share.index * ranks + share.rank) * size
            # With one rank the last micro-batch is short; with several it is filled up from the start.
            rows = [row if row < step else row % step for row in range(before, before + size)]
            rows = rows[: share.real] if ranks == 1 else rows
            mine, doubted = margins[rows], doubt[rows]
            loss = (functional.softplus(-mine) + doubted * mine).mean()
            losses.append(weighted(loss, mine, doubted, share))
        # What the trainer and the exchange of gradients do with them.
        means.append(torch.stack(losses).mean())
    assert torch.stack(means).mean() == pytest.approx(float(wanted), abs=1e-6)


def test_a_rank_without_a_pair_of_its_own_still_takes_part() -> None:
    margins = torch.randn(4, requires_grad=True)
    share = Share(step=4, size=4, batches=1, index=0, rank=1, ranks=2)
    weighted(functional.softplus(-margins).mean(), margins, torch.zeros(4), share).backward()
    assert margins.grad is not None
    assert not margins.grad.any()


def test_a_margin_that_is_no_number_ends_the_training() -> None:
    with pytest.raises(FailedPrecondition, match="step 4; lower the round's learningRate"):
        finite(torch.tensor([0.0, float("nan")]), 3)


class State:
    global_step, max_steps = 1, 10


class Control:
    should_save = should_training_stop = False


@pytest.mark.parametrize(
    ("own", "agreed", "saves", "stops"),
    [
        ((False, False), (False, False), False, False),
        ((False, False), (True, False), True, True),
        ((False, False), (False, True), True, False),
        ((True, False), (True, False), True, True),
    ],
)
def test_what_one_rank_wants_all_do(
    own: tuple[bool, bool], agreed: tuple[bool, bool], saves: bool, stops: bool
) -> None:
    asked = []

    def agree(*wishes: bool) -> tuple[bool, ...]:
        asked.append(wishes)
        return agreed

    stop, due = own
    pace = Pace(
        lambda *_: None,
        checkpoint_seconds=0 if due else 1e9,
        stopping=lambda: stop,
        agree=agree,
        clock=lambda: 0.0,
    )
    control = pace.on_step_end(None, State(), Control())
    assert asked == [own]
    assert (control.should_save, control.should_training_stop) == (saves, stops)
