"""Laws of the noise-aware loss."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.method.losses import noise_aware_gradient, noise_aware_loss, soft_labels

quick = settings(deadline=None, max_examples=60)
margins = st.floats(-30, 30)
smoothings = st.floats(0, 0.5)


@quick
@given(margin=margins, smoothing=smoothings, noisy=st.booleans())
def test_the_loss_is_dpo_plus_a_pull_on_the_margin_of_a_noisy_pair(
    margin: float, smoothing: float, noisy: bool
) -> None:
    plain = math.log1p(math.exp(-margin))
    found = float(noise_aware_loss(margin, smoothing=smoothing, noisy=noisy))
    assert found == pytest.approx(plain + smoothing * noisy * margin, rel=1e-12, abs=1e-12)


@quick
@given(margin=margins, smoothing=smoothings, noisy=st.booleans())
def test_the_gradient_is_the_slope_of_the_loss(margin: float, smoothing: float, noisy: bool) -> None:
    width = 1e-5
    ends = noise_aware_loss([margin - width, margin + width], smoothing=smoothing, noisy=[noisy, noisy])
    slope = (ends[1] - ends[0]) / (2 * width)
    found = float(noise_aware_gradient(margin, smoothing=smoothing, noisy=noisy))
    assert found == pytest.approx(slope, abs=1e-8)


def test_smoothing_weakens_a_noisy_pair_s_gradient_by_a_fifth_at_a_margin_of_zero() -> None:
    gradient = noise_aware_gradient([0.0, 0.0], smoothing=0.1, noisy=[False, True])
    assert gradient == pytest.approx([-0.5, -0.4])


@quick
@given(margin=margins, smoothing=smoothings)
def test_a_pair_that_is_not_noisy_is_not_smoothed(margin: float, smoothing: float) -> None:
    smoothed = noise_aware_loss(margin, smoothing=smoothing, noisy=False)
    assert float(smoothed) == float(noise_aware_loss(margin, smoothing=0.0, noisy=True))


def test_the_loss_of_a_hopeless_margin_is_finite() -> None:
    loss = noise_aware_loss([-1e4, 1e4], smoothing=0.1, noisy=[True, True])
    assert loss == pytest.approx([9e3, 1e3])


def test_a_soft_label_is_lowered_for_noisy_pairs_alone() -> None:
    labels = soft_labels(np.array([False, True, False]), smoothing=0.1)
    assert labels.tolist() == [1.0, 0.9, 1.0]


@pytest.mark.parametrize("smoothing", [-0.01, 0.51, math.nan])
def test_a_smoothing_that_would_turn_labels_round_is_refused_by_name(smoothing: float) -> None:
    with pytest.raises(InvalidInput, match="smoothing"):
        noise_aware_loss([0.0], smoothing=smoothing, noisy=[True])
