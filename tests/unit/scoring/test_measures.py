"""What data sets amount to, worked out by hand on a few rows."""

import math

import pytest

from selfie.method.pairing import NoPair
from selfie.method.subsets import in_gate_half
from selfie.scoring.precision import error_bound
from selfie.scoring.preference_measures import PreferenceTally
from selfie.scoring.rewards import RewardRule
from selfie.scoring.sample_measures import SampleTally


def response(ids: list[int], *, text: str = "words", finish: str = "stop", divergence: float | None = 0.5):
    return {
        "tokens": len(ids),
        "response_ids": ids,
        "response_text": text,
        "finish_reason": finish,
        "error_bound": len(ids) / 1000,
        "divergence": divergence,
    }


def test_samples_are_counted_by_outcome():
    tally = SampleTally()
    tally.add([response([1]), response([2], finish="length")], {"margin": 0.2, "confidence": 0.1})
    for reason in ("tie", "identical", "identical", "too-few", "unfinished"):
        tally.add([response([3])], NoPair(reason))
    assert tally.counts() == {
        "prompts": 6,
        "responses": 7,
        "pairs": 1,
        "ties": 1,
        "identical": 2,
        "too_few": 1,
        "unfinished": 1,
        "cut": 1,
        "tokens": 7,
    }


def test_the_monitors_are_means_and_shares():
    tally = SampleTally()
    tally.add(
        [response([1, 2, 3], divergence=0.1), response([4], text=" ", finish="length", divergence=0.5)],
        {"margin": 0.2, "confidence": 0.1},
    )
    tally.add(
        [response([4], divergence=0.5), response([5], divergence=0.5)], {"margin": 0.6, "confidence": 0.3}
    )
    assert tally.measures() == pytest.approx(
        {
            "mean_tokens": 1.5,
            "finished_share": 0.75,
            "duplicate_share": 0.25,
            "empty_share": 0.25,
            "error_bound_max": 0.003,
            "divergence": (3 * 0.1 + 3 * 0.5) / 6,
            "mean_margin": 0.4,
            "mean_confidence": 0.2,
            "margin_q10": 0.24,
            "margin_q50": 0.4,
            "margin_q90": 0.56,
        }
    )


def test_what_has_no_basis_is_not_measured():
    assert SampleTally().measures() == {}
    tally = SampleTally()
    tally.add([response([1], divergence=None)], NoPair("too-few"))
    assert set(tally.measures()) == {
        "mean_tokens",
        "finished_share",
        "duplicate_share",
        "empty_share",
        "error_bound_max",
    }


def labelled(name: str, margin: float, lengths: tuple[int, int], **fields):
    chosen, rejected = lengths
    return {
        "pair_id": name,
        "margin": margin,
        "margin_mean": margin,
        "tie_band": 0.001,
        "chosen_tokens": chosen,
        "rejected_tokens": rejected,
        "chosen_reference_logprob": -float(chosen),
        "rejected_reference_logprob": -2.0 * rejected,
        **fields,
    }


@pytest.fixture
def tally() -> PreferenceTally:
    made = PreferenceTally(RewardRule())
    made.add(sides(10, 10), labelled("a", 1.0, (10, 10)))
    made.add(sides(20, 10), labelled("e", 0.0005, (20, 10), margin_mean=0.5))
    made.add(sides(10, 20), labelled("c", -1.0, (10, 20)))
    made.add(sides(30, 10), labelled("d", 2.0, (30, 10), rejected_reference_logprob=-5.0))
    return made


def sides(*lengths: int) -> list[dict]:
    """Two scored responses so long."""
    return [
        {**response([1] * length, divergence=divergence), "error_bound": error_bound(length)}
        for length, divergence in zip(lengths, (0.25, 0.75), strict=True)
    ]


def test_the_judge_is_right_wrong_or_half_right_where_it_cannot_tell(tally: PreferenceTally):
    found = tally.measures()
    assert tally.counts() == {"pairs": 4, "responses": 8, "ties": 1, "tokens": 120}
    assert found["n"] == 4
    assert found["accuracy"] == (1 + 0.5 + 0 + 1) / 4
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert found["accuracy_mean"] == (1 + 1 + 0 + 1) / 4
    assert found["mean_margin"] == pytest.approx((1.0 + 0.0005 - 1.0 + 2.0) / 4)
    losses = [math.log1p(math.exp(-margin)) for margin in (1.0, 0.0005, -1.0, 2.0)]
    assert found["log_loss"] == pytest.approx(sum(losses) / 4)
    assert 0 <= found["ece"] <= 1


def test_the_judges_that_cost_nothing_are_measured_beside_it(tally: PreferenceTally):
    found = tally.measures()
    assert found["accuracy_longer"] == (0.5 + 1 + 0 + 1) / 4
    assert found["accuracy_reference_sum"] == (1 + 0.5 + 1 + 0) / 4
    assert found["accuracy_reference_mean"] == (1 + 1 + 1 + 0) / 4


def test_parts_on_which_length_is_no_help_are_measured_apart(tally: PreferenceTally):
    found = tally.measures()
    assert (found["n_length_matched"], found["accuracy_length_matched"]) == (1, 1.0)
    assert (found["n_chosen_shorter"], found["accuracy_chosen_shorter"]) == (1, 0.0)


def test_the_half_that_chooses_is_not_the_half_that_reports(tally: PreferenceTally):
    found = tally.measures()
    credit = {"a": 1.0, "e": 0.5, "c": 0.0, "d": 1.0}
    halves = {half: [name for name in credit if in_gate_half(name) is half] for half in (True, False)}
    for half, name in [(True, "gate"), (False, "report")]:
        assert found[f"n_{name}"] == len(halves[half]) > 0
        assert found[f"accuracy_{name}"] == sum(credit[pair] for pair in halves[half]) / len(halves[half])


def test_divergence_is_weighted_by_tokens(tally: PreferenceTally):
    chosen, rejected = (10 + 20 + 10 + 30), (10 + 10 + 20 + 10)
    expected = (0.25 * chosen + 0.75 * rejected) / (chosen + rejected)
    assert tally.measures()["divergence"] == pytest.approx(expected)


def test_a_subset_without_pairs_has_a_size_and_no_accuracy():
    tally = PreferenceTally(RewardRule())
    tally.add([side | {"divergence": None} for side in sides(30, 10)], labelled("a", 1.0, (30, 10)))
    found = tally.measures()
    assert found["n_length_matched"] == found["n_chosen_shorter"] == 0
    assert "accuracy_length_matched" not in found
    assert "divergence" not in found
    assert PreferenceTally(RewardRule()).measures() == {}
    assert PreferenceTally(RewardRule()).counts()["pairs"] == 0
