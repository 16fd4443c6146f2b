"""What was scored a moment ago is not computed again."""

import numpy as np

from selfie.scoring.memory import ScoreMemory
from selfie.scoring.rows import Row, RowScore, Wanted

PLAIN = Wanted()


def row(mark: int) -> Row:
    return Row((1, 2), (mark, mark))


def score(value: float) -> RowScore:
    return RowScore(np.array([value, value]), np.zeros(2))


def test_a_score_is_known_for_the_same_row_and_lambdas_alone():
    memory = ScoreMemory(10)
    kept = score(0.5)
    memory.keep({row(1): kept}, PLAIN)
    assert memory.recall([row(1), row(2)], PLAIN) == {row(1): kept}
    assert memory.recall([row(1)], Wanted((0.5,))) == {}


def test_what_was_not_used_for_longest_is_forgotten_first():
    memory = ScoreMemory(4)
    memory.keep({row(1): score(1), row(2): score(2)}, PLAIN)
    memory.recall([row(1)], PLAIN)
    memory.keep({row(3): score(3)}, PLAIN)
    assert set(memory.recall([row(1), row(2), row(3)], PLAIN)) == {row(1), row(3)}


def test_a_memory_of_nothing_keeps_nothing():
    memory = ScoreMemory(0)
    memory.keep({row(1): score(1)}, PLAIN)
    assert memory.recall([row(1)], PLAIN) == {}
