"""What several random seeds allow to be said."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.method.seeds import MIN_SEEDS, over_seeds, student_quantile, student_within


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, 12.7062), (2, 4.30265), (4, 2.77645), (5, 2.57058), (9, 2.26216), (30, 2.04227)],
)
def test_the_quantiles_are_those_of_the_tables(degrees: int, t: float) -> None:
    assert student_quantile(0.975, degrees) == pytest.approx(t, abs=1e-4)
    assert student_within(t, degrees) == pytest.approx(0.95, abs=1e-5)


def test_p_values_are_those_of_the_tables() -> None:
    assert 1 - student_within(4.03214, 5) == pytest.approx(0.01, abs=1e-6)
    assert 1 - student_within(6.86883, 5) == pytest.approx(0.001, abs=1e-7)


@settings(deadline=None, max_examples=50)
@given(probability=st.floats(0.5, 0.9999), degrees=st.integers(1, 60))
def test_the_quantile_inverts_the_distribution(probability: float, degrees: int) -> None:
    t = student_quantile(probability, degrees)
    assert 0.5 + student_within(t, degrees) / 2 == pytest.approx(probability, abs=1e-9)


def test_mean_interval_and_p_value_are_student_s() -> None:
    found = over_seeds([0.02, 0.05, 0.03, 0.04, 0.01, 0.03])
    error = np.std([2, 5, 3, 4, 1, 3], ddof=1) / 100 / math.sqrt(6)
    assert found.mean.value == pytest.approx(0.03)
    assert (found.mean.low, found.mean.high) == pytest.approx(
        (0.03 - 2.57058 * error, 0.03 + 2.57058 * error), abs=1e-6
    )
    assert found.p_value == pytest.approx(1 - student_within(0.03 / error, 5))
    assert (found.sign.first_only, found.sign.second_only, found.sign.p_value) == (6, 0, 2 / 64)


def test_the_fewest_seeds_for_a_claim_are_those_whose_sign_test_can_make_one() -> None:
    agree = [1.0 + seed / 10 for seed in range(MIN_SEEDS)]
    assert over_seeds(agree).sign.p_value < 0.05 < over_seeds(agree[1:]).sign.p_value


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert over_seeds([0.0, 0.0]).p_value == 1.0
    found = over_seeds([0.5, 0.5, 0.5])
    assert (found.mean.low, found.mean.high, found.p_value) == (0.5, 0.5, 0.0)


def test_student_s_interval_holds_the_mean_as_often_as_it_says() -> None:
    values = np.random.default_rng(3).normal(0.2, 1.0, size=(400, 6))
    held = [found.mean.low <= 0.2 <= found.mean.high for found in map(over_seeds, values)]
    assert 0.92 <= np.mean(held) <= 0.98
