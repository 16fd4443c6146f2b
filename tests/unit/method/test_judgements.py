"""Two judges on the same pairs: what is planted is found, and noise is called nothing."""

import math

import numpy as np
import pytest

from selfie.errors import InvalidInput
from selfie.method.judgements import Judgement, coin, contrast, contrasts, judgement_of, preferring
from selfie.method.matching import match
from selfie.method.statistics import Difference
from selfie.method.verdicts import Verdict, direction, holm, verdict_of


def test_each_margin_has_its_own_tie_band() -> None:
    found = judgement_of([0.5, 0.5, -0.5, -0.5], [0.4, 0.5, 0.4, 0.6])
    assert found.credits.tolist() == [1.0, 0.5, 0.0, 0.5]
    # A tie costs what the margin says, and not what a coin does.
    assert found.losses is not None
    assert found.losses.tolist() == pytest.approx([math.log1p(math.exp(-m)) for m in (0.5, 0.5, -0.5, -0.5)])


def test_chance_is_beaten_as_often_as_a_judge_is_right() -> None:
    judge = judgement_of([1.0] * 9 + [-1.0] * 2 + [0.0], 0.0)
    found = contrast(judge, coin(12))
    assert (found.mcnemar.first_only, found.mcnemar.second_only) == (9, 2)
    # The exact two-sided binomial test of 9 out of 11; the tie says nothing.
    assert found.mcnemar.p_value == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert found.accuracy.value == pytest.approx(9.5 / 12 - 0.5)


def test_a_judge_without_probabilities_has_no_log_loss() -> None:
    longer = preferring([3.0, -2.0, 0.0])
    assert longer.credits.tolist() == [1.0, 0.0, 0.5]
    assert contrast(coin(3), longer).log_loss is None


def test_less_log_loss_is_better() -> None:
    sure, unsure = judgement_of([2.0] * 40, 0.0), judgement_of([0.1] * 40, 0.0)
    found = contrast(sure, unsure).log_loss
    assert found is not None
    assert found.high < 0


def test_a_part_without_pairs_has_no_contrast() -> None:
    parts = {"all": np.ones(2, dtype=bool), "report": np.zeros(2, dtype=bool)}
    assert set(contrasts(coin(2), coin(2), parts)) == {"all"}


def test_judges_of_unequal_numbers_of_pairs_are_refused() -> None:
    with pytest.raises(InvalidInput, match="second"):
        contrasts(coin(2), coin(3), {"all": np.ones(2, dtype=bool)})


def test_items_are_matched_by_name_and_content_in_the_order_of_the_first() -> None:
    found = match({"a": "1", "b": "2", "c": "3", "d": "4"}, {"c": "3", "b": "9", "a": "1", "e": "5"})
    assert (found.first.tolist(), found.second.tolist()) == ([0, 2], [2, 0])
    assert (found.only_first, found.only_second, found.altered) == (("d",), ("e",), ("b",))


def test_nothing_in_common_is_an_empty_matching() -> None:
    found = match({"a": "1"}, {})
    assert (found.first.size, found.second.size, found.only_first) == (0, 0, ("a",))


def test_holm_adjusts_step_by_step_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()
    assert holm([0.2]) == (0.2,)


def test_interval_and_exact_test_must_agree() -> None:
    clear, unclear = Difference(0.1, 0.02, 0.2, 50), Difference(0.1, -0.02, 0.2, 50)
    assert direction(clear, 0.01) == "better"
    assert direction(clear, 0.05) == direction(unclear, 0.01) == "no difference established"
    assert direction(Difference(-0.1, -0.2, -0.02, 50), 0.01) == "worse"


def test_a_mean_and_a_count_that_point_to_different_sides_establish_nothing() -> None:
    # Half a credit more on sixteen pairs, a whole one less on nine: fewer credits, more pairs.
    first, second = Judgement(np.array([0.5] * 16 + [0.0] * 9)), Judgement(np.array([0.0] * 16 + [1.0] * 9))
    found = contrast(first, second)
    assert found.accuracy.value < 0
    assert found.mcnemar.first_only > found.mcnemar.second_only
    assert verdict_of(found, 0.001) == "no difference established"


def verdicts(seed: int, *, gain: float, tables: int, pairs: int, rounds: int) -> list[list[Verdict]]:
    """Tables of rounds against a seed that is right on 60 % of pairs, and they on 60 % and ``gain``."""
    rng = np.random.default_rng(seed)
    right = rng.random((tables, 1 + rounds, pairs)) < 0.6
    right[:, 1:] |= rng.random((tables, rounds, pairs)) < gain / 0.4
    found = []
    for first, *later in right.astype(float):
        against = [contrast(Judgement(each), Judgement(first)) for each in later]
        adjusted = holm([each.mcnemar.p_value for each in against])
        found.append([verdict_of(each, p) for each, p in zip(against, adjusted, strict=True)])
    return found


def test_noise_is_called_a_difference_in_five_tables_of_a_hundred_at_most() -> None:
    found = verdicts(7, gain=0.0, tables=200, pairs=150, rounds=3)
    wrong = sum(any(verdict != "no difference established" for verdict in table) for table in found)
    # Within three standard deviations of 5 % of 200, less what the exact test is too careful by.
    assert 2 <= wrong <= 19


def test_a_judge_that_is_better_by_a_fifth_is_called_better() -> None:
    found = verdicts(8, gain=0.2, tables=30, pairs=300, rounds=2)
    said = [verdict for table in found for verdict in table]
    assert said.count("better") >= 0.9 * len(said)
    assert "worse" not in said


def test_the_difference_that_was_planted_lies_in_its_interval() -> None:
    rng = np.random.default_rng(9)
    hits = 0
    for _ in range(200):
        right = rng.random((2, 200)) < np.array([[0.7], [0.6]])
        found = contrast(Judgement(right[0].astype(float)), Judgement(right[1].astype(float))).accuracy
        hits += found.low <= 0.1 <= found.high
    assert 0.9 <= hits / 200 <= 0.99
