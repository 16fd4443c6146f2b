"""Rows of scored responses and of pairs: their numbers, who is chosen, and by what chance."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from selfie.artifacts.rows import PAIR_SCHEMA, SCORED_SCHEMA
from selfie.method.pairing import NoPair
from selfie.scoring.core import Provenance
from selfie.scoring.judged import Judging, human_pair, human_samples, scored_row, self_made_pair
from selfie.scoring.precision import error_bound
from selfie.scoring.rewards import RewardRule
from selfie.scoring.rows import RowScore

PROVENANCE = Provenance("a" * 64, "b" * 64, "c" * 64)
JUDGING = Judging(rule=RewardRule(), lam=0.5, judge="implicit", pairing="best_worst", random_seed=3)
PROMPT = {
    "prompt_id": "p1",
    "messages": [{"role": "user", "content": "Hi"}],
    "prompt_ids": [1, 2],
    "prompt_digest": "d" * 64,
    "truncated": False,
    "source": None,
}


def sample(index: int, ids: list[int], **fields) -> dict:
    return {
        **PROMPT,
        "sample_index": index,
        "seed": 2**63 + index,
        "response_text": f"text {ids}",
        "response_ids": ids,
        "ids_from": "engine",
        "finish_reason": "stop",
        "policy_digest": "a" * 64,
        "engine": "toy/1",
        **fields,
    }


def scored(index: int, ids: list[int], gain: float, judging: Judging = JUDGING, **fields):
    """A response whose policy log-probability is ``gain`` nats above its reference's, -2 a token."""
    tokens = len(ids)
    reference = np.full(tokens, -2.0)
    score = RowScore(reference + gain / tokens, reference, (0.01 * tokens,), 0.5)
    return scored_row(sample(index, ids, **fields), score, judging, PROVENANCE)


def test_a_scored_row_fits_its_schema_and_holds_both_rewards():
    row = scored(0, [5, 6, 7, 8], gain=2.0)
    assert set(row) == set(SCORED_SCHEMA.names)
    assert pa.Table.from_pylist([dict(row)], schema=SCORED_SCHEMA).num_rows == 1
    assert row["reward"] == pytest.approx(0.2)
    assert row["reward_mean"] == pytest.approx(0.05)
    assert row["extrapolated_logprob"] == pytest.approx(1.5 * -6.0 - 0.5 * -8.0 - 0.04)
    assert (row["tokens"], row["error_bound"], row["divergence"]) == (4, error_bound(4), 0.5)
    assert row["reference_digest"] == PROVENANCE.reference_digest


def test_a_pair_fits_its_schema_and_its_numbers_follow_from_its_sides():
    pair = self_made_pair([scored(0, [5, 6], 1.0), scored(1, [7, 8, 9, 10], 3.0)], JUDGING)
    assert set(pair) | {"kept", "reason", "noisy", "suspicions", "threshold", "soft_label"} == set(
        PAIR_SCHEMA.names
    )
    assert (pair["chosen_index"], pair["rejected_index"]) == (1, 0)
    assert (pair["pair_id"], pair["ids_from"], pair["judge"]) == ("p1/1-0", "engine", "implicit")
    assert pair["margin"] == pytest.approx(0.2)
    assert pair["margin_mean"] == pytest.approx(0.1 * (3 / 4 - 1 / 2))
    assert pair["extrapolated_margin"] == pytest.approx(1.5 * 0.2 - 0.1 * (0.04 - 0.02))
    assert pair["probability"] == pytest.approx(1 / (1 + math.exp(-0.2)))
    assert pair["confidence"] == pytest.approx(2 * pair["probability"] - 1)
    assert pair["tie_band"] == pytest.approx(0.1 * 2 * (error_bound(2) + error_bound(4)))


def test_the_mean_judge_may_choose_the_other_one_and_both_margins_are_kept():
    judging = replace(JUDGING, rule=RewardRule().per_token)
    pair = self_made_pair([scored(0, [5, 6], 2.0, judging), scored(1, [7] * 8, 4.0, judging)], judging)
    assert pair["chosen_index"] == 0
    assert pair["margin"] == pair["margin_mean"] == pytest.approx(0.1 * (1 - 0.5))
    assert pair["tie_band"] == pytest.approx(0.1 * 2 * (error_bound(2) / 2 + error_bound(8) / 8))


def test_without_a_reference_the_policys_likelihood_is_the_reward():
    judging = replace(JUDGING, rule=RewardRule(without_reference=True), lam=0.0)
    rows = [scored(0, [5], 0.1, judging), scored(1, [7, 8], 3.0, judging)]
    pair = self_made_pair(rows, judging)
    assert rows[0]["reward"] == pytest.approx(0.1 * -1.9)
    assert rows[0]["reference_logprob"] == -2.0
    assert pair["chosen_index"] == 1
    assert pair["margin"] == pytest.approx(0.1 * (-1.0 + 1.9))
    assert pair["tie_band"] == pytest.approx(0.1 * (error_bound(1) + error_bound(2)))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(0, [5], 1.0)], "too-few"),
        ([(0, [5], 1.0), (1, [], 0.0)], "too-few"),
        ([(0, [5], 1.0), (1, [5], 1.0)], "identical"),
        ([(0, [5], 1.0), (1, [6], 1.0001)], "tie"),
    ],
)
def test_responses_without_a_preference_make_no_pair(rows, reason):
    found = self_made_pair([scored(*row) if row[1] else empty(row[0]) for row in rows], JUDGING)
    assert found == NoPair(reason)


def test_with_finished_only_no_cut_response_is_paired_however_good_or_bad():
    rows = [
        scored(0, [5, 6, 7], 3.0, finish_reason="length"),
        scored(1, [5, 6], 2.0),
        scored(2, [7], 1.0),
        scored(3, [8, 9, 7], 0.0, finish_reason="length"),
    ]
    paired = {
        finished: self_made_pair(rows, replace(JUDGING, finished_only=finished)) for finished in (False, True)
    }
    sides = {name: (pair["chosen_index"], pair["rejected_index"]) for name, pair in paired.items()}
    assert sides == {False: (0, 3), True: (1, 2)}


def test_two_finished_responses_are_needed_where_cut_ones_are_not_paired():
    rows = [scored(0, [5], 3.0, finish_reason="length"), scored(1, [6], 1.0)]
    assert self_made_pair(rows, replace(JUDGING, finished_only=True)) == NoPair("unfinished")


def empty(index: int):
    nothing = np.zeros(0)
    return scored_row(sample(index, []), RowScore(nothing, nothing, (0.0,), 0.0), JUDGING, PROVENANCE)


def test_the_control_judges_choose_by_their_own_rule_and_record_the_implicit_margin():
    rows = [scored(0, [5, 6, 7], -1.0), scored(1, [8], 3.0)]
    longest = self_made_pair(rows, replace(JUDGING, judge="longest"))
    assert (longest["chosen_index"], longest["judge"]) == (0, "longest")
    assert longest["margin"] == pytest.approx(-0.4)
    chosen = {
        self_made_pair(rows, replace(JUDGING, judge="random", random_seed=seed))["chosen_index"]
        for seed in range(20)
    }
    assert chosen == {0, 1}


def test_chance_is_the_same_in_every_attempt_and_differs_between_prompts():
    judging = replace(JUDGING, judge="random", pairing="random")
    rows = [scored(index, [5 + index], float(index)) for index in range(6)]
    assert self_made_pair(rows, judging) == self_made_pair(rows, judging)
    others = [[{**row, "prompt_digest": f"{n:064x}"} for row in rows] for n in range(20)]
    assert len({self_made_pair(found, judging)["pair_id"] for found in others}) > 5


def test_ids_made_again_on_one_side_mark_the_pair():
    rows = [scored(0, [5], 1.0), scored(1, [6], 3.0, ids_from="retokenized")]
    assert self_made_pair(rows, JUDGING)["ids_from"] == "retokenized"


def test_a_labelled_pair_keeps_the_peoples_choice_and_shows_the_judges_by_its_sign():
    preference = {
        **PROMPT,
        "pair_id": "h1",
        "chosen_text": "good",
        "chosen_ids": [5, 2],
        "rejected_text": "bad",
        "rejected_ids": [6, 7, 2],
        "ids_from": "retokenized",
    }
    samples = human_samples(preference)
    gains = (-1.0, 2.0)
    rows = [
        scored_row(
            one,
            RowScore(
                np.full(len(one["response_ids"]), gain), np.zeros(len(one["response_ids"])), (0.0,), 0.1
            ),
            replace(JUDGING, judge="random"),
            PROVENANCE,
        )
        for one, gain in zip(samples, gains, strict=True)
    ]
    assert set(rows[0]) == set(SCORED_SCHEMA.names)
    pair = human_pair(preference, *rows, replace(JUDGING, judge="random"))
    assert (pair["pair_id"], pair["chosen_text"], pair["chosen_ids"]) == ("h1", "good", [5, 2])
    assert (pair["chosen_index"], pair["rejected_index"]) == (-1, -1)
    assert (pair["judge"], pair["pairing"]) == ("implicit", "human")
    assert pair["margin"] == pytest.approx(0.1 * (-2.0 - 6.0))
    assert pair["ids_from"] == "retokenized"
