"""An engine whose scores can be worked out by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from selfie.scoring.rows import Floats, Row, RowScore, Wanted

POLICY, REFERENCE = "a" * 64, "b" * 64


class SimpleEngine:
    """Gives token id n the log-probability -n/100 by the policy and -n/50 by the reference.

    log Z is lambda/1000 a token, and the divergence 0.25; the rows of each call
    are kept. ``before_call`` is called before each and may raise.
    """

    policy_digest = POLICY
    reference_digest = REFERENCE
    max_tokens = 40
    vocabulary = 1000

    def __init__(self) -> None:
        self.calls: list[list[Row]] = []
        self.policy_calls: list[list[Row]] = []
        self.before_call: Callable[[], None] = lambda: None

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        return [list(range(start, min(start + 2, len(rows)))) for start in range(0, len(rows), 2)]

    def score(self, rows: Sequence[Row], wanted: Wanted) -> list[RowScore]:
        self.before_call()
        self.calls.append(list(rows))
        return [self._score(np.array(row.response_ids, dtype=float), wanted) for row in rows]

    def policy_tokens(self, rows: Sequence[Row]) -> list[Floats]:
        self.policy_calls.append(list(rows))
        return [-np.array(row.response_ids, dtype=float) / 100 for row in rows]

    @staticmethod
    def _score(ids: np.ndarray, wanted: Wanted) -> RowScore:
        log_z = tuple(lam / 1000 * len(ids) for lam in wanted.lambdas)
        return RowScore(-ids / 100, -ids / 50, log_z, 0.25 if wanted.divergence else None)


@pytest.fixture
def engine() -> SimpleEngine:
    return SimpleEngine()
