"""How a held-out pair counts for the judge, in both readings of its rewards."""

import pyarrow as pa

from selfie.artifacts.rows import PAIR_SCHEMA
from selfie.report.comparisons import READINGS, compare, credits_of

SUMMED, MEAN = READINGS


def table(*rows) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PAIR_SCHEMA)


def test_a_pair_counts_one_a_tie_a_half_and_a_wrong_one_nothing(pair_of):
    rows = [pair_of(str(index), margin=margin) for index, margin in enumerate((0.5, 0.0005, -0.5))]
    assert credits_of(table(*rows))[SUMMED].tolist() == [1, 0.5, 0]


def test_the_other_reading_may_judge_otherwise(pair_of):
    found = credits_of(table(pair_of("a", margin=1.0, margin_mean=-0.1)))
    assert (found[SUMMED].tolist(), found[MEAN].tolist()) == ([1], [0])


def test_a_run_that_reads_rewards_per_token_is_also_read_by_their_sums(pair_of):
    # 0.3 a token over 2 tokens is less than 0.2 a token over 8.
    row = pair_of(
        "a",
        margin=0.1,
        margin_mean=0.1,
        normalization="mean",
        chosen_reward=0.3,
        chosen_tokens=2,
        rejected_reward=0.2,
        rejected_tokens=8,
    )
    found = credits_of(table(row))
    assert (found[SUMMED].tolist(), found[MEAN].tolist()) == ([0], [1])


def test_the_tie_band_is_that_of_the_reading_that_the_run_goes_by(pair_of):
    row = pair_of("a", margin=0.0005, margin_mean=0.0005, normalization="mean", chosen_reward=0.0005)
    found = credits_of(table(row))
    assert (found[SUMMED].tolist(), found[MEAN].tolist()) == ([1], [0.5])


def test_without_pairs_there_is_nothing_to_compare(pair_of):
    assert credits_of(None) == {}
    assert credits_of(table()) == {}
    assert compare({}, credits_of(table(pair_of("a")))) == ()


def test_pairs_that_only_one_of_the_two_got_right_are_counted(pair_of):
    mine, seed = (
        credits_of(table(*(pair_of(str(index), margin=margin) for index, margin in enumerate(margins))))
        for margins in ((1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))
    )
    summed = compare(mine, seed)[0]
    assert (summed.versus, summed.mcnemar.first_only, summed.mcnemar.second_only) == ("seed, summed", 2, 1)
    assert round(summed.difference.value, 6) == round(1 / 3, 6)
