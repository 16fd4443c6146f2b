"""The error bound as a function, and what a mode comes to; that bounds hold is shown with models."""

import pytest

from selfie.scoring.precision import Machine, Products, arithmetic_of, error_bound

GPU = Machine(tf32=True, bfloat16=True)
AMX = Machine(bfloat16=True)


def test_two_hundred_tokens_stay_within_a_thousandth_of_a_nat():
    assert 0 < error_bound(200) <= 1e-3


def test_the_bound_grows_with_tokens_with_extrapolation_and_with_what_is_rounded():
    assert error_bound(10) < error_bound(20)
    assert error_bound(10, lam=0.5) == pytest.approx(2 * error_bound(10))
    order: list[Products] = ["float32", "tf32", "bfloat16"]
    bounds = [error_bound(10, products=products) for products in order]
    assert bounds == sorted(bounds)


@pytest.mark.parametrize(
    ("machine", "products"),
    [
        (Machine(), {"exact": "float32", "balanced": "float32", "fast": "float32"}),
        (AMX, {"exact": "float32", "balanced": "float32", "fast": "bfloat16"}),
        (GPU, {"exact": "float32", "balanced": "tf32", "fast": "bfloat16"}),
    ],
)
def test_a_mode_rounds_no_more_than_it_may_and_only_what_the_machine_is_faster_at(machine, products):
    assert {mode: arithmetic_of(mode, machine).products for mode in products} == products
