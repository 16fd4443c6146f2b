"""Parts of the held-out pairs."""

import pytest

from selfie.errors import InvalidInput
from selfie.method.subsets import PARTS, chosen_is_shorter, in_gate_half, length_matched, parts_of


def test_lengths_match_when_they_differ_by_a_seventh_at_most() -> None:
    matched = length_matched([100, 85, 100, 84, 3, 0], [85, 100, 84, 100, 3, 0])
    assert matched.tolist() == [True, True, False, False, True, True]


def test_the_tolerance_can_be_narrowed() -> None:
    assert length_matched([100, 100], [95, 94], tolerance=0.05).tolist() == [True, False]


def test_equal_lengths_are_not_shorter() -> None:
    assert chosen_is_shorter([4, 5, 6], [5, 5, 5]).tolist() == [True, False, False]


def test_lists_of_unequal_size_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="rejected_tokens"):
        length_matched([1, 2], [1])
    with pytest.raises(InvalidInput, match="rejected_tokens"):
        chosen_is_shorter([1, 2], [1])


def test_the_halves_are_about_halves() -> None:
    share = sum(in_gate_half(f"pair-{number}") for number in range(2000)) / 2000
    assert 0.46 < share < 0.54


def test_the_half_that_reports_is_the_one_that_chooses_no_round() -> None:
    names = [f"pair-{number}" for number in range(20)]
    parts = parts_of(names, [10] * 20, [10] * 10 + [30] * 10)
    assert tuple(parts) == PARTS
    assert parts["report"].tolist() == [not in_gate_half(name) for name in names]
    assert parts["all"].all()
    assert parts["lengthMatched"].tolist() == [True] * 10 + [False] * 10
    assert parts["chosenShorter"].tolist() == [False] * 10 + [True] * 10
