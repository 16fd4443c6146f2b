"""Rounds and runs held against a baseline: what was planted is said, and nothing else."""

import numpy as np
import pytest

from selfie.compare.comparing import compare_runs
from selfie.compare.shape import object_of
from selfie.compare.tables import tables_of
from selfie.errors import InvalidInput

EASY = "The cat sat on the mat. It was warm."
HARD = "Institutional considerations necessitate comprehensive organizational deliberation."


def margins(right: float, n: int = 200, *, seed: int = 0) -> list[float]:
    """Margins of a judge that is right on this share of n pairs, drawn one by one."""
    return np.where(np.random.default_rng(seed).random(n) < right, 1.0, -1.0).tolist()


def verdicts(found, part: str = "all") -> dict[tuple[str, int, str], str]:
    return {(each.run, each.round, each.reading): each.parts[part].verdict for each in found.contrasts}


def test_a_judge_that_is_better_by_a_fifth_is_called_better_and_the_other_way_worse(judged):
    good, poor = judged("good", margins(0.8)), judged("poor", margins(0.6, seed=1))
    assert set(verdicts(compare_runs([poor, good], poor)).values()) == {"better"}
    assert set(verdicts(compare_runs([poor, good], good)).values()) == {"worse"}


def test_judges_that_are_equally_right_are_not_called_different(judged):
    one, other = judged("one", margins(0.7)), judged("other", margins(0.7, seed=1))
    assert set(verdicts(compare_runs([one, other], one)).values()) == {"no difference established"}


def test_every_round_but_the_baseline_is_held_against_it(judged):
    first, second = judged("first", margins(0.6), margins(0.7)), judged("second", margins(0.6))
    found = compare_runs([first, second], first)
    assert {(each.run, each.round) for each in found.contrasts} == {("first", 1), ("second", 0)}
    found = compare_runs([first, second], first, 1)
    assert {(each.run, each.round) for each in found.contrasts} == {("first", 0), ("second", 0)}
    assert (found.baseline.run, found.baseline.round) == ("first", 1)


def test_p_values_are_adjusted_for_all_that_stand_in_the_column(judged, pairs_of):
    # 8 of 8 discordant pairs for the one: p = 2/256, and 2 readings times 3 rounds are 6 tests.
    base, better = [-1.0] * 8 + [1.0] * 8, [1.0] * 16
    one = judged("one", base, better)
    (summed, _) = [each.parts["all"] for each in compare_runs([one], one).contrasts]
    assert summed.mcnemar.p_value == pytest.approx(2 / 2**8)
    assert summed.adjusted_p == pytest.approx(2 * 2 / 2**8)
    assert summed.verdict == "better"
    many = [one, *(judged(f"same{index}", base) for index in range(3))]
    (summed, *_) = [each.parts["all"] for each in compare_runs(many, one).contrasts]
    assert summed.adjusted_p == pytest.approx(8 * 2 / 2**8)
    assert summed.verdict == "no difference established"


def test_pairs_that_are_not_shared_are_left_out_counted_and_named(judged, pairs_of):
    first = judged("first", pairs_of([1.0] * 6, names=list("abcdef")))
    second = judged("second", pairs_of([1.0] * 6, names=list("bcdefg")))
    altered = judged("altered", pairs_of([1.0] * 6, names=list("abcdef"), chosen_text="another"))
    found = compare_runs([first, second], first)
    assert found.contrasts[0].parts["all"].accuracy.n == 5
    (matching,) = found.matchings
    assert (matching.matched, matching.only_here, matching.only_baseline) == (5, ("g",), ("a",))
    (remark,) = [each for each in found.remarks if "matched" in each]
    assert "1 only there (g), 1 only in the baseline (a)" in remark
    with pytest.raises(InvalidInput, match="altered and first have no held-out pair in common"):
        compare_runs([first, altered], first)


def test_runs_that_share_all_pairs_are_not_remarked_on(judged):
    one, other = judged("one", [1.0, -1.0]), judged("other", [1.0, 1.0])
    assert not [each for each in compare_runs([one, other], one).remarks if "matched" in each]


def test_a_baseline_that_is_not_judged_is_refused_with_those_that_are(judged):
    run = judged("one", [1.0], [1.0])
    with pytest.raises(InvalidInput, match=r"--baseline: one has not judged .* round 2; .*: 0, 1"):
        compare_runs([run], run, 2)


def test_a_run_is_compared_as_far_as_it_is(judged, spec_of):
    whole = judged("whole", [1.0], [1.0])
    begun = judged("begun", [1.0], run=spec_of("begun"))
    remarks = compare_runs([whole, begun], whole).remarks
    assert "begun is compared as far as it is: up to round 0 of 1." in remarks
    assert not [each for each in remarks if each.startswith("whole")]


def test_the_best_round_of_each_run_is_marked(judged):
    found = compare_runs([run := judged("one", [1.0], [1.0], best=1)], run)
    assert [each.is_best for each in found.rounds] == [False, True]
    assert found.runs[0].best_round == 1


def test_a_judge_is_held_against_chance_and_the_longer_response(judged, pairs_of):
    # Right on all 30, of which the longer response is right on none.
    pairs = pairs_of([1.0] * 30, chosen_tokens=5, rejected_tokens=9)
    (entry,) = compare_runs([run := judged("one", pairs)], run).rounds
    rivals = entry.readings[0].rivals
    assert rivals["chance"].accuracy.value == 0.5
    assert rivals["longer"].accuracy.value == 1.0
    assert rivals["chance"].verdict == rivals["longer"].verdict == "better"
    assert rivals["longer"].mcnemar.p_value == pytest.approx(2 / 2**30)
    assert entry.readings[0].accuracy["chosenShorter"].n == 30


def test_another_scale_of_rewards_is_remarked_on(judged, pairs_of):
    one, other = judged("one", [1.0]), judged("other", pairs_of([1.0], beta=0.5))
    remarks = compare_runs([one, other], one).remarks
    assert "other: rewards have another β, so log-losses differ in scale too." in remarks


def test_responses_are_held_against_the_baselines_the_seeds_and_the_initial_models(judged, rated):
    seed, better, initial = rated([HARD] * 10), rated([EASY] * 10), rated([HARD] * 5 + [EASY] * 5)
    one = judged(
        "one",
        [1.0],
        [1.0],
        responses={0: seed, 1: better},
        baselines={"seed": seed, "initial": initial},
    )
    other = judged("other", [1.0], responses={0: better}, baselines={"seed": better})
    found = compare_runs([one, other], one).wins
    rates = {(each.run, each.round, each.against): each.wins.raw.value for each in found}
    assert rates == {
        ("one", 0, "initial"): 0.25,
        ("one", 1, "baseline"): 1.0,
        ("one", 1, "initial"): 0.75,
        ("other", 0, "baseline"): 1.0,
    }


def test_responses_by_another_evaluator_are_not_held_against_each_other(judged, rated, spec_of):
    one = judged("one", [1.0], responses={0: rated([EASY])})
    run = spec_of("other", evaluation__evaluator="none")
    other = judged("other", [1.0], run=run, responses={0: rated([EASY])})
    found = compare_runs([one, other], one)
    assert found.wins == ()
    assert [each for each in found.remarks if each.startswith("other: another evaluator")]


def test_ratings_of_two_fitted_evaluators_are_not_held_against_each_other(judged, rated, spec_of):
    run = spec_of("one", evaluation__evaluator="bradleyTerry")
    one, alike, unlike = (
        judged(name, [1.0], run=run, responses={0: rated([EASY])}, fitted=digest)
        for name, digest in (("one", "a"), ("alike", "a"), ("unlike", "b"))
    )
    found = compare_runs([one, alike, unlike], one)
    assert [(each.run, each.against) for each in found.wins] == [("alike", "baseline")]
    (remark,) = [each for each in found.remarks if "another evaluator" in each]
    assert remark.startswith("unlike: ")


def test_wins_by_a_fitted_evaluator_stand_beside_what_it_is_worth(judged, rated, spec_of):
    run = spec_of("one", evaluation__evaluator="bradleyTerry")
    one, other = (judged(name, [1.0], run=run, responses={0: rated([EASY])}, fitted="a") for name in "ab")
    found = compare_runs([one, other], one)
    (table,) = [each for each in tables_of(found) if each.title.startswith("Responses")]
    told = "the evaluator agrees with people on 66.7 % [21, 94] of 3 held-out pairs"
    assert table.note.endswith(f"a, b: {told}; prefer the longer: 50.0 %.")
    (first, _) = object_of(found)["runs"]
    assert (first["agreement"]["heldout"]["n"], first["agreement"]["longer"]["value"]) == (3, 0.5)


def test_of_an_oracle_no_worth_is_told(judged, rated):
    one = judged("one", [1.0], [1.0], responses={0: rated([EASY]), 1: rated([EASY])})
    found = compare_runs([one], one)
    (table,) = [each for each in tables_of(found) if each.title.startswith("Responses")]
    assert "agrees with people" not in table.note
    assert object_of(found)["runs"][0]["agreement"] is None
