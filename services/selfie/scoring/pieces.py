"""Batch work in pieces: whole batches while the scorer is its own, small ones beside online calls.

An online call waits for the piece that runs, so beside calls a piece takes no longer than they do. How
rows are put together changes their sums within the error bound of the precision mode, and nothing else.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from selfie.scoring import metrics
from selfie.scoring.packing import packed_batches
from selfie.scoring.rows import Row
from selfie.scoring.turns import tokens_of
from selfie.scoring.worker import Worker

TOKENS_BESIDE_CALLS = 128

Score = TypeVar("Score")


def compute_in_pieces(
    worker: Worker, rows: Sequence[Row], compute: Callable[[Sequence[Row]], Sequence[Score]]
) -> list[Score]:
    """Scores in the order of the rows of one batch; waits for the worker."""
    left = list(range(len(rows)))
    found: dict[int, Score] = {}
    while left:
        piece = _next_piece(rows, left) if worker.is_shared else left
        chosen = [rows[index] for index in piece]
        found.update(zip(piece, worker.start(compute, chosen).result(), strict=True))
        metrics.TOKENS.labels("batch").inc(tokens_of(chosen))
        left = [index for index in left if index not in found]
    return [found[index] for index in range(len(rows))]


def _next_piece(rows: Sequence[Row], left: Sequence[int]) -> list[int]:
    first = packed_batches([rows[index] for index in left], TOKENS_BESIDE_CALLS)[0]
    return [left[place] for place in first]
