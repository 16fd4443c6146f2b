"""The judges, and that every named choice has a function behind it."""

from typing import get_args

import numpy as np
import pytest

from selfie.method.choices import JudgeName, NormalizationName, PairingName, ThresholdReading
from selfie.method.judging import JUDGES, Candidates
from selfie.method.noise import OnlineThreshold, ParityThreshold
from selfie.method.pairing import PAIRINGS
from selfie.method.rewards import NORMALIZATIONS


def candidates(normalization: NormalizationName = "sum") -> Candidates:
    return Candidates(
        policy_logprobs=np.array([-10.0, -12.0, -30.0]),
        reference_logprobs=np.array([-14.0, -13.0, -31.0]),
        tokens=np.array([8.0, 1.0, 20.0]),
        beta=0.5,
        normalization=normalization,
    )


def test_every_named_choice_has_exactly_one_entry_in_its_table() -> None:
    assert tuple(JUDGES) == get_args(JudgeName)
    assert tuple(PAIRINGS) == get_args(PairingName)
    assert tuple(NORMALIZATIONS) == get_args(NormalizationName)
    assert (OnlineThreshold.reading, ParityThreshold.reading) == get_args(ThresholdReading)


def test_the_implicit_judge_scores_by_the_log_ratio() -> None:
    rng = np.random.default_rng(0)
    assert JUDGES["implicit"](candidates(), rng).tolist() == [2.0, 0.5, 0.5]


def test_the_implicit_judge_can_be_normalised_by_length() -> None:
    rng = np.random.default_rng(0)
    assert JUDGES["implicit"](candidates("mean"), rng) == pytest.approx([0.25, 0.5, 0.025])


def test_the_longest_judge_scores_by_length_whatever_the_models_say() -> None:
    rng = np.random.default_rng(0)
    assert JUDGES["longest"](candidates(), rng).tolist() == [8.0, 1.0, 20.0]


def test_the_random_judge_is_repeatable_and_blind_to_the_responses() -> None:
    first = JUDGES["random"](candidates(), np.random.default_rng(5))
    again = JUDGES["random"](candidates("mean"), np.random.default_rng(5))
    other = JUDGES["random"](candidates(), np.random.default_rng(6))
    assert first.shape == (3,)
    assert first.tolist() == again.tolist() != other.tolist()


def test_the_random_judge_prefers_either_response_half_of_the_time() -> None:
    rng = np.random.default_rng(1)
    wins = sum(bool(np.diff(JUDGES["random"](candidates(), rng)[:2])[0] > 0) for _ in range(2000))
    assert 900 < wins < 1100
