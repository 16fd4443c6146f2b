"""Labels that the judge's own numbers cast doubt on, before any training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.method.noise import quantile_threshold, suspects

quick = settings(deadline=None, max_examples=60)
margin_lists = st.lists(st.floats(-20, 20), min_size=1, max_size=60)


def test_labels_that_the_extrapolated_judge_turns_round_are_suspected() -> None:
    found = suspects([1.0, 1.0, -1.0, -1.0, 1.0, 0.0], [0.5, -0.5, 0.5, -0.5, 0.0, 2.0], noisy_percent=0)
    assert found.disagreement.tolist() == [False, True, True, False, False, False]
    assert found.noisy.tolist() == found.disagreement.tolist()


def test_the_tenth_that_the_extrapolated_judge_is_least_sure_of_is_suspected_whatever_its_sign() -> None:
    margins = np.array([3.0, -0.01, 2.0, 0.02, 5.0, 1.0, 4.0, -1.5, 2.5, 0.5] * 2) * np.repeat([1.0, 1.1], 10)
    found = suspects(np.sign(margins) * 7, margins, noisy_percent=10)
    assert np.flatnonzero(found.low_confidence).tolist() == [1, 11]
    assert not found.disagreement.any()


def test_either_doubt_is_enough() -> None:
    found = suspects([3.0, 2.0, 0.1], [0.1, -2.0, 3.0], noisy_percent=34)
    assert found.low_confidence.tolist() == [True, False, False]
    assert found.noisy.tolist() == [True, True, False]


@quick
@given(margins=margin_lists, percent=st.floats(0, 100))
def test_no_more_than_the_asked_share_and_one_pair_is_unsure(margins: list[float], percent: float) -> None:
    found = suspects(margins, margins, noisy_percent=percent)
    assert found.low_confidence.sum() <= percent / 100 * len(margins) + 1
    if not found.low_confidence.all():
        sure = np.abs(margins)
        assert sure[found.low_confidence].max(initial=0.0) <= sure[~found.low_confidence].min()


@quick
@given(margins=margin_lists, scale=st.floats(0.5, 2.0))
def test_turning_all_labels_round_changes_no_suspicion(margins: list[float], scale: float) -> None:
    extrapolated = np.roll(margins, 1) * scale
    found = suspects(margins, extrapolated, noisy_percent=20)
    turned = suspects(np.negative(margins), -extrapolated, noisy_percent=20)
    assert found.disagreement.tolist() == turned.disagreement.tolist()
    assert found.threshold == pytest.approx(turned.threshold, abs=1e-15)


def test_a_quantile_is_interpolated_between_its_neighbours() -> None:
    assert quantile_threshold([4.0, 1.0, 3.0, 2.0, 5.0], 10) == pytest.approx(1.4)
    assert quantile_threshold([7.0], 90) == 7.0


def test_input_without_meaning_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="margins"):
        suspects([], [], noisy_percent=10)
    with pytest.raises(InvalidInput, match="extrapolated_margins"):
        suspects([1.0, 2.0], [1.0], noisy_percent=10)
    with pytest.raises(InvalidInput, match="noisy_percent"):
        suspects([1.0], [1.0], noisy_percent=101)
