"""Scores of the latest online calls: who compares many responses pair by pair asks for each of them often.

They make answers of one process agree to the last bit, whatever else was computed beside them.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from selfie.scoring import metrics
from selfie.scoring.known import row_key
from selfie.scoring.rows import Row, RowScore, Wanted

_Key = tuple[bytes, Wanted]


class ScoreMemory:
    """Keeps the scores that were used last, of about ``max_tokens`` response tokens; not for threads."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._tokens = 0
        self._scores: OrderedDict[_Key, RowScore] = OrderedDict()

    def recall(self, rows: Iterable[Row], wanted: Wanted) -> dict[Row, RowScore]:
        """Of these rows, the scores that are known."""
        found: dict[Row, RowScore] = {}
        for row in rows:
            key = (row_key(row), wanted)
            if (score := self._scores.get(key)) is not None:
                self._scores.move_to_end(key)
                found[row] = score
            metrics.REMEMBERED.labels("hit" if score is not None else "miss").inc()
        return found

    def keep(self, scores: Mapping[Row, RowScore], wanted: Wanted) -> None:
        """Takes in new scores, and forgets those that were not used for longest."""
        for row, score in scores.items():
            key = (row_key(row), wanted)
            if key not in self._scores:
                self._tokens += score.tokens
            self._scores[key] = score
            self._scores.move_to_end(key)
        while self._tokens > self._max_tokens:
            _, forgotten = self._scores.popitem(last=False)
            self._tokens -= forgotten.tokens
