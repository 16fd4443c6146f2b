"""How a held-out pair counts for the judge, in both readings, and which pairs two judges share."""

import math

import pyarrow as pa
import pytest

from selfie.artifacts.rows import PAIR_SCHEMA
from selfie.method.subsets import in_gate_half
from selfie.report.comparisons import adjusted, compare, pair_up
from selfie.report.heldout import READINGS, heldout_of, judge_facts

SUMMED, MEAN = READINGS


def table(*rows) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PAIR_SCHEMA)


def credits_of(rows: pa.Table, reading: str) -> list[float]:
    return heldout_of(rows).judgements[reading].credits.tolist()


def test_a_pair_counts_one_a_tie_a_half_and_a_wrong_one_nothing(pair_of):
    rows = [pair_of(str(index), margin=margin) for index, margin in enumerate((0.5, 0.0005, -0.5))]
    assert credits_of(table(*rows), SUMMED) == [1, 0.5, 0]


def test_the_other_reading_may_judge_otherwise(pair_of):
    rows = table(pair_of("a", margin=1.0, margin_mean=-0.1))
    assert (credits_of(rows, SUMMED), credits_of(rows, MEAN)) == ([1], [0])


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
    found = heldout_of(table(row))
    assert found.own == MEAN
    assert found.margins[SUMMED] == pytest.approx([0.3 * 2 - 0.2 * 8])
    assert (credits_of(table(row), SUMMED), credits_of(table(row), MEAN)) == ([0], [1])


def test_the_tie_band_of_the_rows_is_that_of_the_reading_that_the_run_goes_by(pair_of):
    row = pair_of("a", margin=0.0005, margin_mean=0.0005, normalization="mean", chosen_reward=0.0005)
    assert (credits_of(table(row), SUMMED), credits_of(table(row), MEAN)) == ([1], [0.5])


def test_in_the_other_reading_too_a_margin_within_the_scorers_error_is_a_tie(pair_of):
    # Two rewards of 2 tokens each have an error of 0.1 · 2 · 5.8e-5 nats, and half of it per token.
    near, far = (pair_of(name, margin_mean=margin) for name, margin in (("a", 1.1e-5), ("b", 1.3e-5)))
    assert credits_of(table(near, far), MEAN) == [0.5, 1]
    # Without a reference only the policy's own error counts.
    without = heldout_of(table(near, far), without_reference=True)
    assert without.judgements[MEAN].credits.tolist() == [1, 1]


def test_without_pairs_there_is_nothing_to_compare(pair_of):
    assert heldout_of(None) is None
    assert heldout_of(table()) is None
    assert compare(None, heldout_of(table(pair_of("a")))) == ()


def judge(pair_of, margins, **fields):
    rows = [pair_of(str(index), margin=margin, **fields) for index, margin in enumerate(margins)]
    return heldout_of(table(*rows))


def test_pairs_that_only_one_of_the_two_got_right_are_counted(pair_of):
    summed = compare(judge(pair_of, (1.0, 1.0, -1.0)), judge(pair_of, (-1.0, -1.0, 1.0)))[0]
    assert (summed.versus, summed.mcnemar.first_only, summed.mcnemar.second_only) == ("seed, summed", 2, 1)
    assert summed.difference.value == pytest.approx(1 / 3)


def test_pairs_are_matched_by_name_whatever_their_order(pair_of):
    rows = [pair_of(name, margin=margin) for name, margin in (("a", 1.0), ("b", -1.0), ("c", 1.0))]
    paired = pair_up(heldout_of(table(*rows)), heldout_of(table(*reversed(rows))))
    assert paired.matching.second.tolist() == [2, 1, 0]
    assert paired.readings[SUMMED]["all"].mcnemar.p_value == 1.0
    assert paired.readings[SUMMED]["all"].accuracy.value == 0.0


def test_pairs_that_only_one_judge_has_are_named_and_not_compared(pair_of):
    first = heldout_of(table(pair_of("a"), pair_of("b"), pair_of("c")))
    second = heldout_of(table(pair_of("b"), pair_of("d"), pair_of("c", chosen_text="another text")))
    paired = pair_up(first, second)
    assert paired.readings[SUMMED]["all"].accuracy.n == 1
    assert (paired.matching.only_first, paired.matching.only_second) == (("a",), ("d",))
    assert paired.matching.altered == ("c",)


def test_judges_without_a_pair_in_common_are_not_compared(pair_of):
    assert pair_up(heldout_of(table(pair_of("a"))), heldout_of(table(pair_of("b")))) is None


def test_a_pair_is_in_a_part_where_both_tokenizers_put_it_there(pair_of):
    first = judge(pair_of, [1.0] * 2, chosen_tokens=10, rejected_tokens=20)
    second = judge(pair_of, [1.0] * 2, chosen_tokens=20, rejected_tokens=20)
    parts = pair_up(first, second).readings[SUMMED]
    assert "chosenShorter" not in parts
    assert "lengthMatched" not in parts
    assert pair_up(first, first).readings[SUMMED]["chosenShorter"].accuracy.n == 2


def test_the_figures_of_a_judge_are_those_of_each_part(pair_of):
    lengths = [(10, 10), (10, 20), (20, 10), (10, 11)]
    rows = [
        pair_of(name, margin=margin, chosen_tokens=chosen, rejected_tokens=rejected)
        for name, margin, (chosen, rejected) in zip("abce", (1.0, -1.0, 1.0, -1.0), lengths, strict=True)
    ]
    figures = judge_facts(heldout_of(table(*rows))).figures[SUMMED]
    shares = {part: (found.value, found.n) for part, found in figures.accuracy.items()}
    reporting = [name for name in "abce" if not in_gate_half(name)]
    assert shares == {
        "all": (0.5, 4),
        "report": (sum(name in "ac" for name in reporting) / len(reporting), len(reporting)),
        "lengthMatched": (0.5, 2),
        "chosenShorter": (0.0, 2),
    }
    assert figures.mean_margin == 0
    assert figures.log_loss == pytest.approx((math.log1p(math.e) + math.log1p(1 / math.e)) / 2)


def test_a_judge_is_held_against_those_that_cost_nothing(pair_of):
    # The longer response is right once of four, the likelier one by the reference never.
    rows = [
        pair_of(
            name,
            margin=1.0,
            chosen_tokens=chosen,
            rejected_tokens=10,
            chosen_reference_logprob=-9.0 * chosen,
            rejected_reference_logprob=-1.0,
        )
        for name, chosen in zip("abcd", (20, 5, 5, 5), strict=True)
    ]
    rivals = judge_facts(heldout_of(table(*rows))).rivals[SUMMED]
    gains = {name: found.accuracy.value for name, found in rivals.items()}
    assert gains == {"chance": 0.5, "longer": 0.75, "referenceSum": 1.0, "referenceMean": 1.0}
    assert rivals["chance"].mcnemar.p_value == 2 / 2**4
    assert rivals["longer"].mcnemar.second_only == 0
    assert rivals["chance"].log_loss.value == pytest.approx(math.log1p(math.exp(-1)) - math.log(2))
    assert rivals["longer"].log_loss is None


def test_p_values_are_adjusted_for_every_comparison_of_a_run(pair_of):
    seed = judge(pair_of, [-1.0] * 12)
    better = compare(judge(pair_of, [1.0] * 12), seed)
    same = compare(seed, seed)
    ((first, _), (last, _)) = adjusted([better, same])
    assert first.mcnemar.p_value == 2 / 2**12
    assert first.p_value == 4 * 2 / 2**12
    assert (first.verdict, last.verdict) == ("better", "no difference established")
