"""The error bound as a function; that it holds is shown with models, in test_engine."""

import pytest

from selfie.scoring.precision import error_bound


def test_two_hundred_tokens_stay_within_a_thousandth_of_a_nat():
    assert 0 < error_bound(200) <= 1e-3


def test_the_bound_grows_with_tokens_and_with_extrapolation():
    assert error_bound(10) < error_bound(20)
    assert error_bound(10, lam=0.5) == pytest.approx(2 * error_bound(10))
