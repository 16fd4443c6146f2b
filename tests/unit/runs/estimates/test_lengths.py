"""Lengths, and the padding that follows from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.runs.estimates.lengths import Length, Pairs

quick = settings(deadline=None, max_examples=60)
lengths = st.builds(
    lambda mean, more, rest: Length(mean, mean + more, mean + more + rest),
    st.floats(1, 500),
    st.floats(0, 500),
    st.floats(0, 500),
)


@quick
@given(lengths, st.integers(1, 10_000), st.integers(1, 10_000))
def test_more_texts_have_no_shorter_longest_one(length, one, other):
    fewer, more = sorted((one, other))
    assert length.mean - 1e-9 <= length.largest_of(fewer) <= length.largest_of(more) <= length.longest + 1e-9


def test_the_longest_of_some_texts_is_that_of_normal_ones():
    drawn = np.random.default_rng(0).normal(100, 20, (20_000, 8)).max(axis=1).mean()
    assert Length(100, 100 + 20 * 1.645, 1000).largest_of(8) == pytest.approx(drawn, rel=0.01)


@quick
@given(lengths, lengths, st.integers(1, 8), st.integers(1, 8))
def test_padding_grows_with_what_is_computed_at_once(prompt, response, at_once, parts):
    pairs = Pairs(100, prompt, response)
    batch = at_once * parts
    assert (
        pairs.row_tokens(batch=batch, at_once=at_once) <= pairs.row_tokens(batch=batch, at_once=batch) + 1e-6
    )


def test_pairs_of_one_length_are_not_padded():
    pairs = Pairs(50, Length(200, 200, 200), Length(150, 150, 150))
    assert pairs.row_tokens(batch=8, at_once=4) == 350
    assert pairs.longest_row() == 350


def test_padding_is_about_that_of_sorted_steps():
    rng = np.random.default_rng(1)
    rows = np.sort(rng.normal(100, 10, (2000, 8)) + rng.normal(60, 15, (2000, 8, 2)).max(axis=2), axis=1)
    padded = rows.reshape(2000, 2, 4).max(axis=2).mean()
    found = Pairs(100, Length(100, 100 + 16.45, 999), Length(60, 60 + 24.7, 999))
    assert found.row_tokens(batch=8, at_once=4) == pytest.approx(padded, rel=0.03)


def test_a_cut_is_a_cut_of_all_three_figures():
    assert Length(200, 560, 2048).cut_at(300) == Length(200, 300, 300)
    assert Length(200, 560, 2048).cut_at(100) == Length(100, 100, 100)
