"""An engine whose scores can be worked out by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from selfie.scoring.precision import EXACT, Arithmetic, Machine, Mode, arithmetic_of
from selfie.scoring.rows import Floats, Row, RowScore, Wanted

POLICY, REFERENCE = "a" * 64, "b" * 64


class SimpleEngine:
    """Gives token id n the log-probability -n/100 by the policy and -n/50 by the reference.

    log Z is lambda/1000 a token, and the divergence 0.25; the rows of each call
    are kept. ``before_call`` is called before each and may raise. On a ``machine`` that has faster
    products, their sums are off by ``error`` of the row.
    """

    policy_digest = POLICY
    reference_digest = REFERENCE
    max_tokens = 40
    vocabulary = 1000

    def __init__(self) -> None:
        self.calls: list[list[Row]] = []
        self.policy_calls: list[list[Row]] = []
        self.before_call: Callable[[], None] = lambda: None
        self.machine = Machine()
        self.error: Callable[[Row], float] = lambda _row: 0.0

    def arithmetic(self, mode: Mode) -> Arithmetic:
        return arithmetic_of(mode, self.machine)

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        return [list(range(start, min(start + 2, len(rows)))) for start in range(0, len(rows), 2)]

    def score(self, rows: Sequence[Row], wanted: Wanted) -> list[RowScore]:
        self.before_call()
        self.calls.append(list(rows))
        return [self._score(row, wanted) for row in rows]

    def policy_tokens(self, rows: Sequence[Row], mode: Mode = EXACT) -> list[Floats]:
        self.policy_calls.append(list(rows))
        return [-np.array(row.response_ids, dtype=float) / 100 for row in rows]

    def _score(self, row: Row, wanted: Wanted) -> RowScore:
        ids, arithmetic = np.array(row.response_ids, dtype=float), self.arithmetic(wanted.mode)
        log_z = tuple(lam / 1000 * len(ids) for lam in wanted.lambdas)
        policy = -ids / 100
        if arithmetic.products != "float32":
            policy[0] += self.error(row)
        return RowScore(policy, -ids / 50, log_z, 0.25 if wanted.divergence else None, arithmetic)


@pytest.fixture
def engine() -> SimpleEngine:
    return SimpleEngine()
