"""Laws of the measures that a judge is held to."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.method.statistics import (
    accuracy,
    expected_calibration_error,
    log_loss,
    mcnemar_exact,
    pair_credits,
    paired_bootstrap,
    wilson_interval,
)

quick = settings(deadline=None, max_examples=60)
margin_lists = st.lists(st.floats(-20, 20), min_size=1, max_size=50)
credit_pairs = st.lists(st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 2), min_size=1, max_size=40)


def test_a_tie_is_half_right() -> None:
    assert pair_credits([2.0, 0.0, -1.0, 0.4, -0.4], tie_band=0.4).tolist() == [1.0, 0.5, 0.0, 0.5, 0.5]
    found = accuracy([2.0, 0.0, -1.0, 3.0])
    assert (found.value, found.n) == (0.625, 4)


@quick
@given(margins=margin_lists)
def test_a_judge_turned_round_is_right_where_it_was_wrong(margins: list[float]) -> None:
    there, back = accuracy(margins), accuracy(np.negative(margins))
    assert there.value + back.value == pytest.approx(1.0)
    assert there.low == pytest.approx(1.0 - back.high, abs=1e-12)


@quick
@given(halves=st.integers(0, 200), n=st.integers(1, 100), level=st.floats(0.5, 0.999))
def test_wilson_s_interval_holds_the_estimate_and_stays_between_zero_and_one(
    halves: int, n: int, level: float
) -> None:
    successes = min(halves / 2, n)
    found = wilson_interval(successes, n, level=level)
    assert 0.0 <= found.low <= successes / n <= found.high <= 1.0
    assert found.low < found.high
    wider = wilson_interval(successes, n, level=(1 + level) / 2)
    assert wider.low <= found.low
    assert wider.high >= found.high


def test_wilson_s_interval_is_the_one_of_the_textbook() -> None:
    found = wilson_interval(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    # Its ends are where the score test rejects: |p̂ − p| = z·sqrt(p(1 − p)/n).
    for end in (found.low, found.high):
        assert abs(found.value - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 263), rel=1e-6)


def test_one_sided_results_reach_the_border_exactly() -> None:
    assert wilson_interval(0, 7).low == 0.0
    assert wilson_interval(7, 7).high == 1.0


@quick
@given(margins=margin_lists, bins=st.integers(1, 20))
def test_the_calibration_error_lies_between_zero_and_one(margins: list[float], bins: int) -> None:
    assert 0.0 <= expected_calibration_error(margins, bins=bins) <= 1.0


def test_judges_that_are_as_right_as_they_are_sure_have_no_calibration_error() -> None:
    assert expected_calibration_error([800.0] * 5) == 0.0
    assert expected_calibration_error([0.0] * 5) == 0.0
    three_quarters = [math.log(3)] * 3 + [-math.log(3)]
    assert expected_calibration_error(three_quarters) == pytest.approx(0.0, abs=1e-15)


def test_a_judge_that_is_surely_wrong_has_the_largest_calibration_error() -> None:
    assert expected_calibration_error([-800.0] * 5) == 1.0


def test_gaps_in_separate_bins_do_not_cancel() -> None:
    sixty, ninety = math.log(0.6 / 0.4), math.log(0.9 / 0.1)
    margins = [sixty, sixty, -ninety, -ninety]
    assert expected_calibration_error(margins) == pytest.approx((0.4 + 0.9) / 2)
    assert expected_calibration_error(margins, bins=2) == pytest.approx((0.4 + 0.9) / 2)
    assert expected_calibration_error(margins, bins=1) == pytest.approx(0.75 - 0.5)


def test_the_log_loss_is_that_of_the_probabilities() -> None:
    probabilities = np.array([0.9, 0.5, 0.2])
    margins = np.log(probabilities / (1 - probabilities))
    assert log_loss(margins) == pytest.approx(-np.log(probabilities).mean())
    assert log_loss([0.0, 0.0]) == pytest.approx(math.log(2))
    assert log_loss([-1e5]) == pytest.approx(1e5)


@quick
@given(pairs=credit_pairs)
def test_mcnemar_s_test_is_symmetric_in_the_judges(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    there, back = mcnemar_exact(first, second), mcnemar_exact(second, first)
    assert there.p_value == back.p_value
    assert (there.first_only, there.second_only) == (back.second_only, back.first_only)
    assert 0.0 < there.p_value <= 1.0
    assert there.first_only == sum(a > b for a, b in pairs)


def test_mcnemar_s_p_value_is_that_of_fair_coins() -> None:
    first, second = [True] * 9 + [False, True], [False] * 9 + [True, True]
    found = mcnemar_exact(first, second)
    assert (found.first_only, found.second_only) == (9, 1)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar_exact([True, False], [True, False]).p_value == 1.0
    assert mcnemar_exact([True, False], [False, True]).p_value == 1.0


def test_mcnemar_s_test_stands_thousands_of_discordant_pairs() -> None:
    first = np.arange(4000) < 2200
    assert mcnemar_exact(first, ~first).p_value == pytest.approx(2.8e-10, rel=0.2)


def test_the_bootstrap_is_repeatable_and_its_interval_holds_the_difference() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(200) < 0.7, rng.random(200) < 0.6
    found = paired_bootstrap(first, second, seed=1, resamples=500)
    assert found == paired_bootstrap(first, second, seed=1, resamples=500)
    assert found != paired_bootstrap(first, second, seed=2, resamples=500)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low < found.value < found.high
    spread = 1.96 * (first.astype(float) - second).std() / math.sqrt(200)
    assert found.high - found.low == pytest.approx(2 * spread, rel=0.15)


def test_the_bootstrap_keeps_pairs_together() -> None:
    first = np.random.default_rng(0).normal(size=100)
    found = paired_bootstrap(first + 0.25, first, seed=0, resamples=200)
    assert (found.low, found.value, found.high) == pytest.approx((0.25, 0.25, 0.25))
    assert found.n == 100


def test_credits_and_numbers_have_the_same_interval_up_to_chance() -> None:
    # Credits are drawn by how often each value occurs, other numbers one by one.
    rng = np.random.default_rng(4)
    credit = rng.choice([0.0, 0.5, 1.0], size=(2, 150))
    few = paired_bootstrap(*credit, seed=0, resamples=20_000)
    many = paired_bootstrap(credit[0] + rng.normal(0, 1e-9, 150), credit[1], seed=0, resamples=20_000)
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=0.007)


def test_input_without_meaning_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="margins"):
        accuracy([])
    with pytest.raises(InvalidInput, match="margins"):
        log_loss([float("nan")])
    with pytest.raises(InvalidInput, match="second"):
        mcnemar_exact([1.0, 0.0], [1.0])
    with pytest.raises(InvalidInput, match="level"):
        wilson_interval(1, 2, level=1.0)
    with pytest.raises(InvalidInput, match="successes"):
        wilson_interval(3, 2)
