"""Which responses are paired, and which prompts carry no preference."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.method.choices import PairingName
from selfie.method.pairing import NoPair, PairChoice, choose_pair

quick = settings(deadline=None, max_examples=60)
strategies = st.sampled_from(get_args(PairingName))
score_lists = st.lists(st.floats(-50, 50), min_size=2, max_size=8)


def distinct(count: int) -> list[tuple[int, ...]]:
    return [(7, number) for number in range(count)]


def pair(
    scores: list[float],
    strategy: PairingName = "best_worst",
    *,
    responses: list[tuple[int, ...]] | None = None,
    tie_band: float = 0.0,
    seed: int = 0,
) -> PairChoice | NoPair:
    return choose_pair(
        scores,
        responses=distinct(len(scores)) if responses is None else responses,
        strategy=strategy,
        tie_band=tie_band,
        rng=np.random.default_rng(seed),
    )


def test_best_worst_takes_the_extremes() -> None:
    assert pair([0.1, 0.9, -0.4, 0.3]) == PairChoice(winner=1, loser=2)


def test_best_random_sets_every_other_response_against_the_best() -> None:
    choices = [pair([0.1, 0.9, -0.4, 0.3], "best_random", seed=seed) for seed in range(200)]
    losers = [choice.loser for choice in choices if isinstance(choice, PairChoice) and choice.winner == 1]
    assert len(losers) == 200
    assert {other: losers.count(other) > 40 for other in losers} == {0: True, 2: True, 3: True}


def test_random_pairs_every_couple_and_orders_it_by_score() -> None:
    scores = [0.1, 0.9, -0.4, 0.3]
    choices = [pair(scores, "random", seed=seed) for seed in range(400)]
    couples = [(c.winner, c.loser) for c in choices if isinstance(c, PairChoice)]
    assert set(couples) == {(w, x) for w in range(4) for x in range(4) if scores[w] > scores[x]}
    assert min(couples.count(couple) for couple in set(couples)) > 30


@quick
@given(scores=score_lists, strategy=strategies, band=st.floats(0, 20), seed=st.integers(0, 2**32))
def test_a_winner_always_leads_by_more_than_the_tie_band(
    scores: list[float], strategy: PairingName, band: float, seed: int
) -> None:
    choice = pair(scores, strategy, tie_band=band, seed=seed)
    if isinstance(choice, PairChoice):
        assert scores[choice.winner] - scores[choice.loser] > band
    else:
        assert choice == NoPair("tie")
        assert strategy != "best_worst" or max(scores) - min(scores) <= band


@quick
@given(
    scores=score_lists,
    strategy=strategies,
    change=st.tuples(st.integers(-6, 6), st.integers(-8, 8)),
    seed=st.integers(0, 2**32),
)
def test_scaling_and_shifting_all_scores_changes_no_choice(
    scores: list[float], strategy: PairingName, change: tuple[int, int], seed: int
) -> None:
    power, shift = change
    # Rounded to eighths and scaled by powers of two, so that no rounding makes or breaks a tie.
    coarse = [round(score * 8) / 8 for score in scores]
    scale = 2.0**power
    moved = [(score + shift) * scale for score in coarse]
    before = pair(coarse, strategy, tie_band=0.25, seed=seed)
    assert pair(moved, strategy, tie_band=0.25 * scale, seed=seed) == before


def test_a_margin_within_the_band_is_a_tie_and_one_beyond_it_is_not() -> None:
    assert pair([1.0, 1.5], tie_band=0.5) == NoPair("tie")
    assert pair([1.0, 1.5], tie_band=0.49) == PairChoice(winner=1, loser=0)
    assert pair([2.0, 2.0, 2.0]) == NoPair("tie")


def test_identical_responses_make_no_pair_even_if_their_scores_differ() -> None:
    assert pair([1.0, 1.1, 0.9], responses=[(4, 5)] * 3) == NoPair("identical")


@pytest.mark.parametrize("strategy", get_args(PairingName))
def test_of_identical_responses_only_the_first_takes_part(strategy: PairingName) -> None:
    for seed in range(30):
        choice = pair([1.0, 1.2, 0.5], strategy, responses=[(4,), (4,), (9,)], seed=seed)
        assert choice == PairChoice(winner=0, loser=2)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_responses_are_too_few(count: int) -> None:
    assert pair([1.0] * count) == NoPair("too-few")


def test_scores_that_cannot_be_compared_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="scores"):
        pair([1.0, float("nan")])
    with pytest.raises(InvalidInput, match="scores"):
        pair([1.0, 2.0], responses=distinct(3))
    with pytest.raises(InvalidInput, match="tie_band"):
        pair([1.0, 2.0], tie_band=-0.1)
