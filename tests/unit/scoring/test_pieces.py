"""Batch work takes whole batches when it is alone, and gives way when it is not."""

from collections.abc import Iterator, Sequence

import pytest

from selfie.scoring.pieces import TOKENS_BESIDE_CALLS, compute_in_pieces
from selfie.scoring.rows import Row
from selfie.scoring.turns import tokens_of
from selfie.scoring.worker import Worker

ROWS = [Row((number % 3,) * 40, (number,) * 50) for number in range(12)]


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


class Pieces:
    """Answers with each row's first id, and keeps the rows of each call."""

    def __init__(self) -> None:
        self.calls: list[Sequence[Row]] = []

    def __call__(self, rows: Sequence[Row]) -> list[int]:
        self.calls.append(rows)
        return [row.response_ids[0] for row in rows]


def test_a_batch_is_computed_at_once_where_no_calls_are_about(worker: Worker):
    compute = Pieces()
    assert compute_in_pieces(worker, ROWS, compute) == list(range(12))
    assert compute.calls == [ROWS]


def test_beside_calls_a_batch_is_cut_into_small_pieces(worker: Worker):
    compute = Pieces()
    worker.urge(lambda: None)
    assert compute_in_pieces(worker, ROWS, compute) == list(range(12))
    assert len(compute.calls) == 12
    assert all(tokens_of(rows) <= TOKENS_BESIDE_CALLS for rows in compute.calls)


def test_a_call_that_comes_in_the_middle_finds_smaller_pieces_from_then_on(worker: Worker):
    sizes: list[int] = []

    def compute(rows: Sequence[Row]) -> list[int]:
        sizes.append(len(rows))
        worker.urge(lambda: None)
        return [0] * len(rows)

    compute_in_pieces(worker, ROWS, compute)
    compute_in_pieces(worker, ROWS, compute)
    assert sizes[0] == 12
    assert max(sizes[1:]) < 12
