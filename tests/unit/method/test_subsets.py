"""The subsets on which length cannot pass for judgement."""

import pytest

from selfie.errors import InvalidInput
from selfie.method.subsets import chosen_is_shorter, length_matched


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
