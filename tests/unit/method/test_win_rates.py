"""Win rates with length taken out: their laws, what was planted, and where they cannot be had."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.method.win_rates import MIN_PROMPTS, WinRate, win_rate

quick = settings(deadline=None, max_examples=40)
games = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-200, 200), st.integers(0, 30)),
    min_size=1,
    max_size=40,
)


def each_once(wins, lengths, resamples: int = 50) -> WinRate:
    return win_rate(wins, lengths, [str(place) for place in range(len(wins))], resamples=resamples)


def of(games: list[tuple[float, int, int]], *, swapped: bool = False) -> WinRate:
    wins, lengths, prompts = (np.array(column) for column in zip(*games, strict=True))
    if swapped:
        wins, lengths = 1.0 - wins, -lengths
    return win_rate(wins, lengths, [str(prompt) for prompt in prompts], resamples=20)


@quick
@given(games=games)
def test_exchanging_the_policies_gives_one_less_the_rate(games: list[tuple[float, int, int]]) -> None:
    there, back = of(games), of(games, swapped=True)
    assert there.raw.value + back.raw.value == pytest.approx(1.0)
    assert (there.controlled is None) == (back.controlled is None)
    if there.controlled and back.controlled:
        assert there.controlled.value + back.controlled.value == pytest.approx(1.0, abs=1e-9)
        assert there.controlled.low + back.controlled.high == pytest.approx(1.0, abs=1e-6)
    if there.length_effect is not None and back.length_effect is not None:
        # A longer response helps whoever wrote it.
        assert there.length_effect == pytest.approx(back.length_effect, abs=1e-6)


@quick
@given(games=games)
def test_every_rate_lies_in_its_interval_and_between_zero_and_one(
    games: list[tuple[float, int, int]],
) -> None:
    found = of(games)
    for share in (found.raw, found.controlled):
        if share:
            assert 0.0 <= share.low <= share.value <= share.high <= 1.0
            assert share.n == len({prompt for _, _, prompt in games})
    assert found.controlled or found.remark


@quick
@given(
    lengths=st.lists(st.integers(1, 300), min_size=4, max_size=30),
    won=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=30, max_size=30),
)
def test_where_length_has_no_effect_and_is_balanced_the_rate_is_the_raw_one(
    lengths: list[int], won: list[float]
) -> None:
    wins = won[: len(lengths)]
    found = each_once(wins * 2, [*lengths, *(-length for length in lengths)])
    if found.controlled:
        assert found.controlled.value == pytest.approx(found.raw.value, abs=1e-6)
        assert found.length_effect == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.65])
def test_a_rate_that_was_planted_under_an_effect_of_length_is_recovered(rate: float) -> None:
    rng = np.random.default_rng(5)
    lengths = rng.normal(40, 60, size=4000)
    logits = math.log(rate / (1 - rate)) + 1.5 * lengths / lengths.std()
    wins = (rng.random(4000) < 1 / (1 + np.exp(-logits))).astype(float)
    found = each_once(wins, lengths, resamples=60)
    assert found.controlled is not None
    assert found.controlled.value == pytest.approx(rate, abs=0.03)
    assert found.length_effect == pytest.approx(1.5, abs=0.15)
    # The longer responses win more than their share, and by more than chance.
    assert found.raw.low > rate


def test_the_interval_holds_what_was_planted_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(100):
        lengths = rng.normal(0.5, 1.0, size=100)
        wins = (rng.random(100) < 1 / (1 + np.exp(-0.8 * lengths))).astype(float)
        found = each_once(wins, lengths, resamples=200).controlled
        assert found is not None
        held += found.low <= 0.5 <= found.high
    assert 88 <= held <= 99


def test_the_answer_is_repeatable() -> None:
    rng = np.random.default_rng(1)
    wins, lengths = rng.integers(0, 2, 30).astype(float), rng.normal(size=30)
    assert each_once(wins, lengths) == each_once(wins, lengths)


def test_a_prompt_counts_once_however_many_responses_it_has() -> None:
    wins, lengths = [1.0] * 9 + [0.0], [5, -5] * 5
    found = win_rate(wins, lengths, ["a"] * 9 + ["b"])
    assert (found.raw.value, found.raw.n) == (pytest.approx(0.5), 2)
    rng = np.random.default_rng(2)
    wins, lengths = rng.integers(0, 2, 40).astype(float), rng.normal(size=40)
    once = each_once(wins, lengths)
    twice = win_rate(np.tile(wins, 2), np.tile(lengths, 2), [str(n) for n in range(40)] * 2, resamples=50)
    assert once.controlled is not None
    assert twice.controlled is not None
    assert twice.controlled.value == pytest.approx(once.controlled.value)
    assert twice.controlled.high == pytest.approx(once.controlled.high)


def test_too_few_prompts_are_said_to_be_too_few() -> None:
    found = each_once([1.0, 0.0] * 3 + [1.0], [3, -1, 2, 5, -4, 1, 2])
    assert MIN_PROMPTS == 8
    assert found.raw.n == 7
    assert found.controlled is None
    assert found.remark == "fewer than 8 prompts: too few to take length out"


@pytest.mark.parametrize(("win", "word"), [(1.0, "won"), (0.0, "lost")])
def test_where_all_was_won_or_lost_length_cannot_be_taken_out(win: float, word: str) -> None:
    found = each_once([win] * 10, range(10))
    assert (found.raw.value, found.controlled) == (win, None)
    assert found.remark.startswith(f"every comparison was {word}")


def test_where_all_is_tied_nobody_is_ahead() -> None:
    found = each_once([0.5] * 10, range(10))
    assert found.controlled is not None
    assert found.controlled.value == pytest.approx(0.5)


def test_equal_lengths_leave_the_rate_as_it_is() -> None:
    found = each_once([1.0, 0.0, 1.0, 1.0] * 3, [0] * 12)
    assert found.controlled == found.raw
    assert "all lengths are equal" in found.remark


def test_a_difference_in_length_that_never_varies_cannot_be_told_from_quality() -> None:
    found = each_once([1.0, 0.0, 1.0, 1.0] * 3, [7] * 12)
    assert found.controlled is None
    assert "differ by the same" in found.remark


def test_where_length_alone_decides_it_is_said() -> None:
    lengths = np.arange(-6, 6) + 0.5
    found = each_once((lengths > 0).astype(float), lengths)
    assert found.controlled is not None
    assert found.controlled.value == pytest.approx(0.5, abs=1e-6)
    assert found.remark == "length alone tells wins from losses"


def test_lists_of_unequal_size_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="length_differences"):
        win_rate([1.0, 0.0], [1.0], ["a", "b"])
    with pytest.raises(InvalidInput, match="wins"):
        win_rate([], [], [])
