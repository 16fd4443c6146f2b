"""Drawing tokens: by the distribution, by the seed alone, and never what is impossible."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.engine.sampling import SamplingParameters, choose, levels, uniforms


def parameters(temperature: float = 1.0, top_p: float = 1.0) -> SamplingParameters:
    return SamplingParameters(temperature, top_p, max_new_tokens=1)


def random_logits(rows: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * 3


def probabilities(logits: torch.Tensor, temperature: float, top_p: float) -> np.ndarray:
    """A straightforward float64 reading: the smallest set of likeliest tokens with mass ``top_p``."""
    scaled = logits.double().numpy() / temperature
    found = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    found /= found.sum(axis=-1, keepdims=True)
    for row in found:
        order = np.argsort(-row)
        kept = int(np.searchsorted(np.cumsum(row[order]), top_p - 1e-12)) + 1
        row[order[kept:]] = 0
    return found / found.sum(axis=-1, keepdims=True)


def random_draws(rows: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, levels(size), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stream(seeds: list[int], positions: int, size: int = 500) -> torch.Tensor:
    return uniforms(seeds, positions=positions, vocabulary_size=size)


def test_a_stream_depends_on_its_seed_alone():
    alone, among = stream([7], 20), stream([3, 7, 2**64 - 1], 20)
    assert torch.equal(alone[0], among[1])
    assert not torch.equal(among[0], among[1])


def test_a_stream_is_read_by_position_so_that_a_longer_one_begins_the_same():
    assert torch.equal(stream([11], 100)[:, :9], stream([11], 9))


def test_streams_are_those_of_earlier_releases():
    expected = [0.011546754286331562, 0.24154919656271812, 0.11142585551493822]
    assert stream([0], 1, size=8)[0, 0].tolist() == expected


def test_uniforms_lie_in_the_half_open_unit_interval_and_are_even():
    drawn = stream(list(range(200)), 10)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(drawn.var()) == pytest.approx(1 / 12, abs=0.002)


def test_temperature_zero_takes_the_likeliest_token():
    logits = random_logits(5, 600)
    best = logits.argmax(dim=-1)
    assert torch.equal(choose(logits, random_draws(5, 600), parameters(temperature=0)), best)


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(2, 8),
    temperature=st.sampled_from([0.3, 0.7, 1.0, 2.0]),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)
def test_evenly_spread_draws_give_each_token_its_probability(size, temperature, top_p, seed):
    logits = random_logits(1, size, seed)
    ticks = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    draws = torch.cartesian_prod(*[ticks] * levels(size)).reshape(-1, levels(size))
    chosen = choose(logits.repeat(len(draws), 1), draws, parameters(temperature, top_p))
    shares = torch.bincount(chosen, minlength=size).double().numpy() / len(draws)
    assert shares == pytest.approx(probabilities(logits, temperature, top_p)[0], abs=levels(size) / 80)


def test_draws_from_a_large_vocabulary_follow_the_distribution():
    logits = random_logits(1, 301)
    chosen = choose(logits.repeat(50_000, 1), random_draws(50_000, 301), parameters(0.7, 0.95))
    shares = torch.bincount(chosen, minlength=301).double().numpy() / 50_000
    expected = probabilities(logits, 0.7, 0.95)[0]
    assert shares == pytest.approx(expected, abs=4 * np.sqrt(expected.max() / 50_000))
    assert np.abs(shares - expected).sum() / 2 < 0.02
    assert np.all(shares[expected == 0] == 0)


def test_rounding_of_the_logits_moves_hardly_any_draw():
    logits, draws = random_logits(2000, 8192), random_draws(2000, 8192)
    rounded = logits + 1e-5 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    before, after = (choose(some, draws, parameters(0.7)) for some in (logits.clone(), rounded))
    assert int((before != after).sum()) <= 1


@pytest.mark.parametrize("draw", [0.0, 0.25, 1 - 2**-53])
def test_a_token_of_probability_zero_is_never_drawn(draw):
    logits = torch.full((1, 1000), -torch.inf)
    logits[0, [400, 700]] = 0.0
    drawn = choose(logits, torch.full((1, levels(1000)), draw, dtype=torch.float64), parameters())
    assert int(drawn) in (400, 700)


def test_the_whole_vocabulary_can_be_drawn_whatever_its_size():
    for size in (1, 2, 3, 5, 48, 49, 400):
        drawn = choose(torch.zeros(20 * size, size), random_draws(20 * size, size), parameters())
        assert set(drawn.tolist()) == set(range(size))


def test_a_nucleus_wider_than_the_guess_is_kept_whole():
    flat = torch.zeros(20_000, 1024)
    chosen = choose(flat, random_draws(20_000, 1024), parameters(top_p=0.9))
    assert len(chosen.unique()) == 1024  # equally likely tokens are kept or dropped together


def test_a_wide_nucleus_in_one_row_leaves_the_others_as_they_are():
    logits = torch.stack([torch.linspace(0, 0.1, 4096), torch.linspace(0, 900, 4096)])
    kept = probabilities(logits, 1.0, 0.5) > 0
    assert kept.sum(axis=-1)[0] > 512 > kept.sum(axis=-1)[1]
    for seed in range(50):
        drawn = choose(logits.clone(), random_draws(2, 4096, seed), parameters(top_p=0.5))
        assert all(kept[row, int(token)] for row, token in enumerate(drawn))
