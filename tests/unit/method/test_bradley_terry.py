"""The model of people's preferences: its laws, what was planted, and where data says nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.method.bradley_terry import RIDGES, BradleyTerry, Comparisons, choose_ridge, fit
from selfie.method.logspace import sigmoid

quick = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 10_000)
PLANTED = np.array([2.0, -1.0, 0.5, -0.25, 0.0])


def drawn(
    seed: int, *, pairs: int = 60, weights: np.ndarray = PLANTED, length_weight: float = 0.0
) -> Comparisons:
    """Pairs as people of these tastes would label them; lengths in tokens."""
    rng = np.random.default_rng(seed)
    gaps = rng.normal(size=(pairs, weights.size))
    lengths = rng.integers(-80, 80, size=pairs).astype(float)
    chosen = rng.random(pairs) < sigmoid(gaps @ weights + length_weight * lengths)
    sign = np.where(chosen, 1.0, -1.0)
    return labelled(gaps * sign[:, np.newaxis], lengths * sign)


def labelled(gaps: np.ndarray, lengths: np.ndarray) -> Comparisons:
    return Comparisons(gaps, lengths, [f"prompt {number}" for number in range(len(gaps))])


def penalised(pairs: Comparisons, ridge: float, weights: np.ndarray, length_weight: float) -> float:
    """What the fit maximises, written down once more from its definition."""
    margins = pairs.gaps @ weights + pairs.lengths * length_weight
    per_deviation = weights * np.sqrt((pairs.gaps**2).mean(axis=0))
    length = length_weight * np.sqrt((pairs.lengths**2).mean())
    held = ridge * (per_deviation**2).sum() + 0.01 * length**2
    return float(-np.log1p(np.exp(-margins)).sum() - held / 2)


@quick
@given(seed=seeds)
def test_exchanging_two_responses_turns_the_preference_around(seed: int) -> None:
    model, first, second = fit(drawn(seed), ridge=1.0), *np.random.default_rng(seed).normal(size=(2, 4, 5))
    assert model.margins(first - second) == pytest.approx(-model.margins(second - first))
    ahead = model.ratings(first) - model.ratings(second)
    assert ahead == pytest.approx(model.margins(first - second))
    assert sigmoid(ahead) + sigmoid(-ahead) == pytest.approx(np.ones(4))


@quick
@given(seed=seeds)
def test_labels_turned_around_turn_the_weights_around(seed: int) -> None:
    pairs = drawn(seed)
    there, back = fit(pairs, ridge=3.0), fit(labelled(-pairs.gaps, -pairs.lengths), ridge=3.0)
    assert back.weights == pytest.approx(-there.weights, abs=1e-8)
    assert back.length_weight == pytest.approx(-there.length_weight, abs=1e-8)


@quick
@given(seed=seeds, ridge=st.sampled_from([0.1, 3.0, 100.0]))
def test_the_fit_is_where_the_slope_of_what_it_maximises_is_nought(seed: int, ridge: float) -> None:
    pairs = drawn(seed, length_weight=0.01)
    found = fit(pairs, ridge=ridge)
    at = np.append(found.weights, found.length_weight)

    def height(point: np.ndarray) -> float:
        return penalised(pairs, ridge, point[:-1], float(point[-1]))

    slopes = []
    for axis, unit in enumerate(np.eye(at.size)):
        step = 1e-5 if axis < at.size - 1 else 1e-7
        slopes.append((height(at + step * unit) - height(at - step * unit)) / (2 * step))
    # Of the order of what differences of so small steps can tell.
    assert np.abs(slopes[:-1]).max() < 1e-4
    assert abs(slopes[-1]) < 1e-2


@quick
@given(seed=seeds, size=st.floats(1e-3, 1.0))
def test_no_other_weights_are_better(seed: int, size: float) -> None:
    pairs, elsewhere = drawn(seed), np.random.default_rng(seed + 1).normal(size=5) * size
    found = fit(pairs, ridge=2.0)
    best = penalised(pairs, 2.0, found.weights, found.length_weight)
    assert best > penalised(pairs, 2.0, found.weights + elsewhere, found.length_weight)


def test_weights_that_were_planted_come_back_in_their_order_and_size() -> None:
    found = fit(drawn(3, pairs=6000, length_weight=0.01), ridge=1.0)
    assert list(np.argsort(found.weights)) == list(np.argsort(PLANTED))
    assert found.weights == pytest.approx(PLANTED, abs=0.15)
    assert found.length_weight == pytest.approx(0.01, abs=0.002)


def test_what_length_explains_is_not_rated_by() -> None:
    rng = np.random.default_rng(4)
    taste, length = rng.normal(size=4000), rng.normal(size=4000) * 50
    # The second column knows nothing but the length, with some error.
    gaps = np.column_stack([taste, length / 50 + rng.normal(size=4000) * 0.5])
    sign = np.where(rng.random(4000) < sigmoid(taste + 0.04 * length), 1.0, -1.0)
    with_length = fit(labelled(gaps * sign[:, np.newaxis], length * sign), ridge=1.0)
    without = fit(labelled(gaps * sign[:, np.newaxis], np.zeros(4000)), ridge=1.0)
    assert with_length.weights == pytest.approx([1.0, 0.0], abs=0.12)
    assert without.weights[1] > 1.0


@quick
@given(seed=seeds)
def test_a_ridge_without_bound_prefers_nothing(seed: int) -> None:
    pairs = drawn(seed)
    assert sigmoid(fit(pairs, ridge=1e15).margins(pairs.gaps)) == pytest.approx(np.full(60, 0.5))


@quick
@given(seed=seeds, ridge=st.sampled_from([1e-3, 1.0, *RIDGES]))
def test_data_that_can_be_told_apart_without_error_has_a_finite_fit(seed: int, ridge: float) -> None:
    rng = np.random.default_rng(seed)
    gaps, lengths = np.abs(rng.normal(size=(20, 3))), np.abs(rng.normal(size=20)) * 100
    found = fit(labelled(gaps, lengths), ridge=ridge)
    assert np.isfinite(found.weights).all()
    assert np.isfinite(found.length_weight)
    assert (found.margins(gaps) + found.length_weight * lengths > 0).all()


def test_a_column_that_never_differs_has_no_weight() -> None:
    pairs = drawn(5)
    flat = labelled(np.column_stack([pairs.gaps, np.zeros(60)]), np.zeros(60))
    found = fit(flat, ridge=1.0)
    assert (found.weights[-1], found.length_weight) == (0.0, 0.0)


def test_the_units_of_an_embedding_do_not_matter() -> None:
    pairs, units = drawn(6), np.array([1.0, 1e4, 1e-3, 7.0, 0.5])
    there = fit(pairs, ridge=5.0)
    back = fit(labelled(pairs.gaps * units, pairs.lengths * 12), ridge=5.0)
    assert back.weights * units == pytest.approx(there.weights)


def test_the_mean_rating_of_what_a_model_is_centred_on_is_nought() -> None:
    embeddings = np.random.default_rng(7).normal(loc=40.0, size=(30, 5))
    model = fit(drawn(7), ridge=1.0)
    assert model.centred(embeddings).ratings(embeddings).mean() == pytest.approx(0.0, abs=1e-9)
    assert model.centred(embeddings).margins(embeddings) == pytest.approx(model.margins(embeddings))


def test_the_ridge_is_weak_where_there_is_much_to_learn_and_strong_where_there_is_nothing() -> None:
    much = choose_ridge(drawn(8, pairs=800))
    nothing = choose_ridge(drawn(8, pairs=100, weights=np.zeros(40)))
    assert much.ridge == min(RIDGES)
    assert much.accuracy > 0.8
    assert nothing.ridge > 100 * much.ridge
    assert nothing.log_loss == pytest.approx(np.log(2), abs=0.03)


def test_pairs_of_one_prompt_are_left_out_together() -> None:
    # Each prompt has its own column, so that only its other pair could tell which response is chosen.
    one = np.eye(30) * np.where(np.arange(30) % 2, 3.0, -3.0)[:, np.newaxis]
    names = [f"prompt {number}" for number in range(30)] * 2
    found = choose_ridge(Comparisons(np.vstack([one, one]), np.zeros(60), names))
    assert found.accuracy == 0.5
    apart = choose_ridge(labelled(np.vstack([one, one]), np.zeros(60)))
    assert apart.accuracy > 0.5


def test_neither_a_second_fit_nor_the_order_of_the_pairs_changes_the_choice() -> None:
    pairs = drawn(9)
    back = Comparisons(pairs.gaps[::-1], pairs.lengths[::-1], list(pairs.prompts)[::-1])
    first, again, turned = choose_ridge(pairs), choose_ridge(pairs), choose_ridge(back)
    assert first == again
    assert (turned.ridge, turned.accuracy) == (first.ridge, first.accuracy)
    assert fit(pairs, ridge=10.0).weights.tobytes() == fit(pairs, ridge=10.0).weights.tobytes()


@pytest.mark.parametrize(
    ("gaps", "lengths", "field"),
    [
        (np.zeros((0, 2)), np.zeros(0), "gaps"),
        (np.array([[np.nan, 1.0]]), np.zeros(1), "gaps"),
        (np.ones((2, 2)), np.array([1.0, np.inf]), "lengths"),
        (np.ones((2, 2)), np.ones(3), "gaps, lengths and prompts"),
    ],
    ids=["no pair", "a gap that is no number", "a length without end", "lists of unequal size"],
)
def test_what_is_no_set_of_pairs_is_refused_by_name(gaps, lengths, field) -> None:
    with pytest.raises(InvalidInput, match=field):
        labelled(gaps, lengths)


def test_one_prompt_alone_cannot_be_left_out() -> None:
    with pytest.raises(InvalidInput, match="several prompts"):
        choose_ridge(Comparisons(np.ones((4, 2)), np.ones(4), ["the same"] * 4))


def test_a_model_is_told_by_its_values() -> None:
    model = BradleyTerry(np.array([1.0, -2.0]), length_weight=0.5, ridge=10.0, origin=1.5)
    assert model.ratings(np.array([[3.0, 1.0]])) == pytest.approx([-0.5])
