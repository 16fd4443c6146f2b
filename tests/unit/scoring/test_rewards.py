"""Rewards and the bounds of their errors."""

import pytest

from selfie.scoring.precision import error_bound
from selfie.scoring.rewards import RewardRule


def test_a_reward_is_beta_times_the_log_ratio():
    assert RewardRule(beta=0.5).reward(-3.0, -7.0, tokens=4) == 2.0
    assert RewardRule(beta=0.5).per_token.reward(-3.0, -7.0, tokens=4) == 0.5
    assert RewardRule(beta=0.5, without_reference=True).reward(-3.0, -7.0, tokens=4) == -1.5


def test_a_reward_has_the_error_of_the_sums_that_it_is_made_of():
    assert RewardRule(beta=0.1).bound(50) == pytest.approx(0.2 * error_bound(50))
    assert RewardRule(beta=0.1, without_reference=True).bound(50) == pytest.approx(0.1 * error_bound(50))
    assert RewardRule(beta=0.1).per_token.bound(50) == pytest.approx(0.2 * error_bound(50) / 50)


def test_a_margin_has_the_error_of_the_least_certain_two_rewards():
    rule = RewardRule(beta=0.1)
    assert rule.tie_band([10, 300, 20]) == pytest.approx(rule.bound(300) + rule.bound(20))
    mean = rule.per_token
    assert mean.tie_band([10, 300, 20]) == pytest.approx(mean.bound(10) + mean.bound(20))
