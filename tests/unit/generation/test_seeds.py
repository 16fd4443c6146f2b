"""Seeds: derived from what is sampled, and different for everything that differs."""

from itertools import product

from selfie.generation.seeds import derive_seed, derive_seeds

STEP = "rounds/01/generate"


def test_a_seed_is_that_of_earlier_releases():
    assert derive_seed(7, STEP, "d" * 64, 0) == 5378472171840715303


def test_seeds_are_64_bit_and_differ_by_everything_that_they_derive_from():
    everything = list(
        product((0, 1, 2**64 - 1), (STEP, "rounds/02/generate"), ("d" * 64, "e" * 64), range(8))
    )
    seeds = [derive_seed(*parts) for parts in everything]
    assert len(set(seeds)) == len(everything)
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_more_samples_of_a_prompt_leave_the_first_ones_as_they_were():
    assert derive_seeds(7, STEP, "d" * 64, 8)[:3] == derive_seeds(7, STEP, "d" * 64, 3)
