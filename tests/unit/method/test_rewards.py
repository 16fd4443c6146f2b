"""Laws of the implicit reward and of the preference read off it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.method.logspace import log_sigmoid, log_softmax, logsumexp, sigmoid
from selfie.method.rewards import NORMALIZATIONS, confidence, implicit_reward, preference_probability

quick = settings(deadline=None, max_examples=60)
logprobs = st.floats(-400, 0)
margins = st.floats(-800, 800)
betas = st.floats(0.01, 10)
# Coarse enough that no rounding makes or breaks a tie.
sixty_fourths = st.integers(-9999, 9999).map(lambda number: number / 64)


@quick
@given(first=st.floats(-50, 50), second=st.floats(-50, 50))
def test_swapping_the_responses_gives_the_opposite_probability(first: float, second: float) -> None:
    p_first = float(preference_probability(first - second))
    p_second = float(preference_probability(second - first))
    assert p_first == pytest.approx(1.0 - p_second, abs=1e-15)
    assert (p_first > 0.5) == (first - second > 0) or abs(first - second) < 1e-15


@quick
@given(
    policy=st.lists(logprobs, min_size=2, max_size=2),
    reference=st.lists(logprobs, min_size=2, max_size=2),
    shift=st.floats(-100, 100),
    tokens=st.integers(1, 300),
)
def test_shifting_the_reference_of_both_responses_alike_changes_no_margin(
    policy: list[float], reference: list[float], shift: float, tokens: int
) -> None:
    before = implicit_reward(policy, reference, beta=0.1)
    after = implicit_reward(policy, [value + shift for value in reference], beta=0.1)
    for normalize in NORMALIZATIONS.values():
        plain, moved = normalize(before, [tokens, tokens]), normalize(after, [tokens, tokens])
        assert plain[0] - plain[1] == pytest.approx(moved[0] - moved[1], abs=1e-9)


def test_per_token_margins_of_unequal_lengths_do_move_with_a_shift_of_the_sum() -> None:
    per_token = NORMALIZATIONS["mean"]
    plain = per_token(implicit_reward([-4.0, -9.0], [-5.0, -9.0], beta=1.0), [2, 8])
    moved = per_token(implicit_reward([-4.0, -9.0], [-9.0, -13.0], beta=1.0), [2, 8])
    assert plain[0] - plain[1] == pytest.approx(0.5)
    assert moved[0] - moved[1] == pytest.approx(2.0)


@quick
@given(log_ratios=st.tuples(sixty_fourths, sixty_fourths), beta=betas, other_beta=betas)
def test_beta_scales_the_margin_and_changes_no_label(
    log_ratios: tuple[float, float], beta: float, other_beta: float
) -> None:
    one, other = (np.subtract(*implicit_reward(log_ratios, [0.0, 0.0], beta=b)) for b in (beta, other_beta))
    assert one / beta == pytest.approx(other / other_beta, rel=1e-9, abs=1e-9)
    assert np.sign(one) == np.sign(other) == np.sign(log_ratios[0] - log_ratios[1])


def test_a_policy_that_is_its_own_reference_has_no_opinion() -> None:
    rewards = implicit_reward([-12.5, -80.0, 0.0], [-12.5, -80.0, 0.0], beta=0.1)
    assert rewards.tolist() == [0.0, 0.0, 0.0]
    assert preference_probability(0.0) == 0.5
    assert confidence(0.5) == 0.0


@quick
@given(value=margins)
def test_confidence_is_the_same_whichever_response_comes_first(value: float) -> None:
    sure = float(confidence(preference_probability(value)))
    assert 0.0 <= sure <= 1.0
    assert sure == pytest.approx(float(confidence(preference_probability(-value))), abs=1e-15)
    assert sure == pytest.approx(math.tanh(abs(value) / 2), abs=1e-15)


def test_the_two_normalisations_are_the_sum_and_the_mean_over_tokens() -> None:
    assert NORMALIZATIONS["sum"]([3.0, -8.0], [6, 4]).tolist() == [3.0, -8.0]
    assert NORMALIZATIONS["mean"]([3.0, -8.0], [6, 4]).tolist() == [0.5, -2.0]


def test_a_response_of_no_token_has_a_mean_reward_of_zero() -> None:
    assert NORMALIZATIONS["mean"]([0.0], [0]).tolist() == [0.0]


@pytest.mark.parametrize("beta", [0.0, -0.1, math.nan])
def test_a_beta_that_is_not_positive_is_refused_by_name(beta: float) -> None:
    with pytest.raises(InvalidInput, match="beta"):
        implicit_reward([-1.0], [-2.0], beta=beta)


@quick
@given(value=margins)
def test_sigmoid_and_its_logarithm_agree_and_stay_finite(value: float) -> None:
    assert math.isfinite(float(log_sigmoid(value)))
    exact = -math.log1p(math.exp(-value)) if value > -700 else value
    assert float(log_sigmoid(value)) == pytest.approx(exact, rel=1e-12, abs=1e-300)
    if value > -700:
        assert float(sigmoid(value)) == pytest.approx(math.exp(exact), rel=1e-9)


def test_huge_logits_neither_overflow_nor_vanish() -> None:
    logits = [[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]]
    assert logsumexp(logits) == pytest.approx([1e4 + math.log(2), -1e4 + math.log(3)])
    assert log_softmax(logits)[0] == pytest.approx([-math.log(2), -math.log(2), -2e4 - math.log(2)])
