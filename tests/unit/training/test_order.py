"""The random seed alone decides which pairs make up which optimizer step."""

from hypothesis import given
from hypothesis import strategies as st

from selfie.training.trainer.order import PairOrder

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=60)
BATCH = st.integers(1, 16)
SEED = st.integers(0, 2**32 - 1)


@given(LENGTHS, BATCH, SEED)
def test_every_epoch_has_every_pair_once(lengths: list[int], batch: int, seed: int) -> None:
    order = PairOrder(lengths, batch=batch, seed=seed)
    for epoch in range(2):
        steps = [order.step(epoch * order.steps_per_epoch + index) for index in range(order.steps_per_epoch)]
        assert sorted(row for step in steps for row in step) == list(range(len(lengths)))
        assert all(len(step) == batch for step in steps[:-1])


@given(LENGTHS, BATCH, SEED)
def test_a_resumed_epoch_is_read_in_the_same_order(lengths: list[int], batch: int, seed: int) -> None:
    done = 0
    order = PairOrder(lengths, batch=batch, seed=seed, steps_done=lambda: done)
    done = order.steps_per_epoch
    from_the_start = list(order)
    done = 2 * order.steps_per_epoch - 1
    assert list(order) == from_the_start
    assert from_the_start[:batch] == order.step(order.steps_per_epoch)


@given(LENGTHS, BATCH, SEED)
def test_within_a_step_the_pairs_stand_by_length(lengths: list[int], batch: int, seed: int) -> None:
    step = PairOrder(lengths, batch=batch, seed=seed).step(0)
    assert [lengths[row] for row in step] == sorted(lengths[row] for row in step)


@given(st.lists(st.integers(1, 500), min_size=20, max_size=60), SEED)
def test_lengths_do_not_decide_which_pairs_a_step_has(lengths: list[int], seed: int) -> None:
    other = PairOrder([1] * len(lengths), batch=8, seed=seed)
    assert set(PairOrder(lengths, batch=8, seed=seed).step(1)) == set(other.step(1))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    order = PairOrder([1] * 40, batch=40, seed=1)
    other = PairOrder([1] * 40, batch=8, seed=2)
    assert order.step(0) == order.step(1) == list(range(40))
    epochs = [PairOrder([1] * 40, batch=8, seed=1).step(number) for number in (0, 5)]
    assert set(epochs[0]) != set(epochs[1])
    assert set(epochs[0]) != set(other.step(0))
