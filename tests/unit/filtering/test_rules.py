"""The filter's rules, one by one and together."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.filtering.rules import REASONS, SUSPICIONS, Candidate, Label, Rules, counts, label_pairs, measures


def pair(name: str = "p", **fields) -> Candidate:
    """A pair that no rule objects to."""
    defaults = {
        "chosen_text": f"good {name}",
        "rejected_text": f"bad {name}",
        "chosen_cut": False,
        "rejected_cut": False,
        "margin": 1.0,
        "extrapolated_margin": 1.0,
        "tie_band": 0.001,
        "prompt_digest": name,
    }
    return Candidate(**{"id": name, **defaults, **fields})


def label(candidate: Candidate, **rules) -> Label:
    return label_pairs([candidate], Rules(**rules))[0]


def test_a_pair_without_fault_is_kept_with_its_whole_label():
    found = label(pair())
    assert found.kept
    assert (found.reason, found.noisy, found.suspicions, found.soft_label) == ("", False, (), 1.0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chosen_text": " \n"}, "empty"),
        ({"rejected_text": ""}, "empty"),
        ({"chosen_text": "same", "rejected_text": "same"}, "identical"),
        ({"chosen_cut": True}, "cut-winner"),
        ({"chosen_cut": True, "rejected_cut": True}, "both-cut"),
        ({"margin": 0.001}, "tie"),
        ({"margin": -0.001}, "tie"),
    ],
)
def test_a_pair_that_can_teach_nothing_is_left_out_for_its_reason(fields, reason):
    found = label(pair(**fields))
    assert not found.kept
    assert found.reason == reason


@pytest.mark.parametrize(
    ("cut", "winner_cut", "loser_cut", "both_cut"),
    [
        ("drop_cut_responses", "cut-winner", "cut-loser", "both-cut"),
        ("drop_cut_winners", "cut-winner", "", "both-cut"),
        ("drop_both_cut", "", "", "both-cut"),
        ("keep", "", "", ""),
    ],
)
def test_what_is_done_with_cut_responses_is_a_choice(cut, winner_cut, loser_cut, both_cut):
    assert label(pair(chosen_cut=True), cut=cut).reason == winner_cut
    assert label(pair(rejected_cut=True), cut=cut).reason == loser_cut
    assert label(pair(chosen_cut=True, rejected_cut=True), cut=cut).reason == both_cut


def test_ties_are_kept_on_request():
    assert label(pair(margin=0.0), keep_ties=True).kept


def test_the_same_pair_again_is_a_duplicate_in_either_order():
    first = pair("a", chosen_text="x", rejected_text="y", prompt_digest="d")
    turned = pair("b", chosen_text="y", rejected_text="x", prompt_digest="d")
    labels = label_pairs([first, turned, first], Rules())
    assert [found.reason for found in labels] == ["", "duplicate", "duplicate"]
    assert all(found.kept for found in label_pairs([first, turned], Rules(keep_duplicates=True)))


def test_the_same_responses_to_other_or_unknown_prompts_are_no_duplicates():
    texts = {"chosen_text": "yes", "rejected_text": "no"}
    labels = label_pairs([pair(prompt_digest=digest, **texts) for digest in ("d", "e", "", "")], Rules())
    assert all(found.kept for found in labels)


def test_the_least_sure_pairs_by_the_extrapolated_judge_are_noisy():
    pairs = [pair(str(n), margin=1.0, extrapolated_margin=n / 10) for n in range(1, 21)]
    labels = label_pairs(pairs, Rules(noisy_percent=10, smoothing=0.2))
    assert [found.noisy for found in labels] == [True, True] + [False] * 18
    assert [found.suspicions for found in labels[:3]] == [("low-confidence",)] * 2 + [()]
    assert [found.soft_label for found in labels[:3]] == [0.8, 0.8, 1.0]
    assert labels[1].extrapolated_confidence < labels[0].threshold < labels[2].extrapolated_confidence


@pytest.mark.parametrize(("margin", "extrapolated"), [(0.5, -3.0), (-0.5, 3.0)])
def test_a_label_that_the_extrapolated_judge_would_turn_is_noisy(margin, extrapolated):
    found = label(pair(margin=margin, extrapolated_margin=extrapolated), noisy_percent=0)
    assert found.suspicions == ("disagreement",)
    assert found.kept


def test_a_pair_may_be_suspected_twice():
    sure = [pair(str(n)) for n in range(9)]
    labels = label_pairs([*sure, pair("x", margin=0.1, extrapolated_margin=-0.01)], Rules(noisy_percent=10))
    assert labels[-1].suspicions == SUSPICIONS


@pytest.mark.parametrize(
    ("action", "kept", "soft_label"), [("smooth", True, 0.9), ("drop", False, 1.0), ("keep", True, 1.0)]
)
def test_what_is_done_with_a_noisy_pair_is_a_choice(action, kept, soft_label):
    found = label(pair(extrapolated_margin=-1.0), action=action)
    assert found.noisy
    assert (found.kept, found.soft_label) == (kept, soft_label)
    assert found.reason == ("" if kept else "noise")


def test_pairs_that_are_left_out_have_no_say_in_the_threshold():
    sound = [pair(str(n), extrapolated_margin=float(n)) for n in range(1, 11)]
    ties = [pair(f"tie{n}", margin=0.0, extrapolated_margin=0.0) for n in range(100)]
    alone = label_pairs(sound, Rules())
    together = label_pairs([*ties, *sound], Rules())
    assert together[-1].threshold == alone[0].threshold
    assert together[100:] == alone
    assert not any(found.noisy for found in together[:100])


def test_outcomes_are_counted_and_add_up():
    pairs = [
        pair("a"),
        pair("b", margin=0.0),
        pair("c", extrapolated_margin=-1.0),
        pair("d", chosen_cut=True),
    ]
    labels = label_pairs(pairs, Rules(action="drop", noisy_percent=0))
    found = counts(labels)
    assert (found["pairs"], found["kept"], found["noisy"], found["disagreement"]) == (4, 1, 1, 1)
    assert (found["tie"], found["cut_winner"], found["noise"], found["low_confidence"]) == (1, 1, 1, 0)
    assert found["kept"] + sum(found[reason.replace("-", "_")] for reason in REASONS) == found["pairs"]
    assert measures(labels) == {
        "kept_share": 0.25,
        "noisy_share": 0.5,
        "threshold": labels[0].threshold,
        "mean_confidence": pytest.approx(2 / (1 + math.exp(-1)) - 1),
    }


def test_nothing_in_nothing_out():
    assert label_pairs([], Rules()) == []
    assert measures([]) == {}
    assert counts([])["pairs"] == 0


@pytest.mark.parametrize("field", ["margin", "extrapolated_margin", "tie_band"])
def test_a_number_that_is_none_is_refused_by_its_place(field):
    with pytest.raises(InvalidInput) as caught:
        label_pairs([pair("a"), pair("b", **{field: math.nan})], Rules())
    assert caught.value.field == f"pairs[1].{field}"


margins = st.floats(-5, 5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(margins, margins), min_size=1, max_size=30),
    st.floats(0, 100),
    st.sampled_from(["smooth", "drop", "keep"]),
)
def test_any_pairs_under_any_rules_are_labelled_consistently(found, percent, action):
    pairs = [pair(str(n), margin=plain, extrapolated_margin=other) for n, (plain, other) in enumerate(found)]
    labels = label_pairs(pairs, Rules(noisy_percent=percent, action=action, smoothing=0.1))
    assert [one.id for one in labels] == [one.id for one in pairs]
    for one in labels:
        assert one.noisy == bool(one.suspicions)
        assert one.kept == (not one.reason)
        assert one.soft_label == (0.9 if one.noisy and action == "smooth" else 1.0)
    low = [one for one in labels if "low-confidence" in one.suspicions]
    passed = [one for one in labels if one.reason in ("", "noise")]
    assert len(low) <= math.ceil(percent / 100 * len(passed))
