"""The sentences of the summary claim what the figures allow and nothing else."""

import pytest

from selfie.method.subsets import in_gate_half
from selfie.report.gather import gather
from selfie.report.summary import summarise
from selfie.runs.status import BestRound, RunStatus

BEST = BestRound(round=1, step="rounds/01/publish", digest="d", accuracy=1.0)


@pytest.fixture
def summary_of():
    def make(toy, run, status: RunStatus | None = None) -> list[str]:
        return summarise(gather(toy.store, run, status or RunStatus()))

    return make


def by_half(*, gate: float, report: float, n: int = 60) -> list[float]:
    """Margins of pairs ``h0``, ``h1``, …: one for those that choose the best round, one for the others."""
    return [gate if in_gate_half(f"h{index}") else report for index in range(n)]


def said(sentences: list[str], part: str) -> list[str]:
    return [sentence for sentence in sentences if part in sentence]


def test_an_idle_detector_is_said_to_be_idle(toy, run_of, summary_of):
    toy.train(z_ones=0.0)
    idle = said(summary_of(toy, run_of()), "idle")
    assert idle == ["The noise detector of the loss was idle in round 1: no pair had z = 1."]


def test_a_detector_that_found_pairs_is_not_called_idle(toy, run_of, summary_of):
    assert not said(summary_of(toy.whole(), run_of()), "idle")


@pytest.mark.parametrize("refinement", ["none", "offline"])
def test_a_detector_that_was_never_asked_for_is_not_called_idle(toy, run_of, summary_of, refinement):
    toy.train(z_ones=0.0)
    assert not said(summary_of(toy, run_of(refinement=refinement)), "idle")


def test_a_difference_whose_interval_holds_zero_is_called_none(toy, run_of, summary_of):
    toy.heldout(0, [1.0, -1.0, 1.0, -1.0])
    toy.heldout(1, [1.0, 1.0, 1.0, -1.0])
    (found,) = said(summary_of(toy, run_of()), "against the seed")
    assert found.count("no difference is established") == 2


def test_four_pairs_lost_of_many_establish_nothing_whatever_the_bootstrap_says(toy, run_of, summary_of):
    toy.heldout(0, [1.0] * 64)
    toy.heldout(1, [-1.0] * 4 + [1.0] * 60)
    (found,) = said(summary_of(toy, run_of()), "against the seed")
    assert found.count("no difference is established, -6.2 points") == 2


@pytest.mark.parametrize(("seed", "later", "word"), [(-1.0, 1.0, "better"), (1.0, -1.0, "worse")])
def test_a_difference_that_is_sure_is_called_by_its_name(toy, run_of, summary_of, seed, later, word):
    toy.heldout(0, [seed] * 12)
    toy.heldout(1, [later] * 12)
    (found,) = said(summary_of(toy, run_of()), "against the seed")
    assert found.count(f"{word}, {100 * later:+.1f} points") == 2


def test_the_seeds_accuracy_stands_beside_prefer_the_longer(toy, run_of, summary_of):
    toy.heldout(0, [1.0, -1.0])
    (found,) = said(summary_of(toy, run_of()), "After the seed")
    assert "on 50.0 % of the held-out pairs" in found
    assert "the longer response gets 59.0 %" in found


def test_better_responses_are_said_to_rate_higher(toy, run_of, summary_of):
    toy.responses(0, ["Institutional considerations necessitate deliberation."] * 8)
    toy.responses(1, ["The cat sat on the mat."] * 8)
    (found,) = said(summary_of(toy, run_of()), "responses rate")
    assert found.endswith("higher.")


def test_equal_responses_are_not_established_to_differ(toy, run_of, summary_of):
    toy.responses(0, ["The cat sat on the mat."] * 8)
    toy.responses(1, ["The cat sat on the mat."] * 8)
    (found,) = said(summary_of(toy, run_of()), "responses rate")
    assert "+0.00 [+0.00, +0.00]" in found
    assert found.endswith("not established to differ.")


AGREEMENT = (
    "the evaluator agrees with people on 63.0 % [60, 66] of 1000 held-out pairs; prefer the longer: 60.0 %"
)


def test_what_rests_on_a_fitted_evaluator_is_told_with_what_that_is_worth(toy, run_of, summary_of):
    toy.responses(0, ["The cat sat."] * 10)
    toy.responses(1, ["The cat sat on the mat."] * 10)
    toy.fitted([0.0] * 10)
    toy.rated(0, [0.0] * 10)
    toy.rated(1, [0.5] * 9 + [-0.5])
    found = summary_of(toy, run_of(evaluator="bradleyTerry"))
    (gain,), (wins,) = said(found, "responses rate"), said(found, "At equal length")
    assert "rate +0.40 [" in gain
    assert "win 90.0 % [" in wins
    for sentence in (gain, wins):
        assert AGREEMENT in sentence


def test_an_oracle_needs_no_worth(toy, run_of, summary_of):
    toy.responses(0, ["The cat sat on the mat."] * 10)
    toy.responses(1, ["The cat sat on the mat."] * 10)
    assert "agrees with people" not in " ".join(summary_of(toy, run_of()))


def test_the_best_round_is_reported_by_the_half_that_did_not_choose_it(toy, run_of, summary_of):
    toy.heldout(0, by_half(gate=-1.0, report=1.0))
    toy.heldout(1, by_half(gate=1.0, report=-1.0))
    (found,) = said(summary_of(toy, run_of(), RunStatus(best=BEST)), "The best round")
    n = sum(not in_gate_half(f"h{index}") for index in range(60))
    assert "is round 1: on the other half" in found
    assert f"agrees with people on 0.0 % [0, 10] of {n}." in found
    assert "Against the seed, there: worse, -100.0 points" in found


def test_a_best_round_that_every_pair_chose_is_not_reported_by_them(toy, run_of, summary_of):
    reporting = [f"h{index}" for index in range(60) if not in_gate_half(f"h{index}")]
    toy.pairs_named(1, reporting)
    assert not said(summary_of(toy, run_of(), RunStatus(best=BEST)), "The best round")


def test_one_of_many_rounds_that_seems_better_is_not_called_so(toy, run_of, summary_of):
    # 7 of 7 discordant pairs have p = 0.016, which is nothing among the four comparisons of two rounds.
    toy.heldout(0, [-1.0] * 7 + [1.0] * 40)
    toy.heldout(1, [1.0] * 47)
    assert said(summary_of(toy, run_of()), "Round 1 against the seed")[0].count("better") == 2
    toy.heldout(2, [-1.0] * 7 + [1.0] * 40)
    run = run_of()
    rounds = (*run.spec.rounds, *run.spec.rounds)
    longer = run.model_copy(update={"spec": run.spec.model_copy(update={"rounds": rounds})})
    (found,) = said(summary_of(toy, longer), "Round 1 against the seed")
    assert found.count("no difference is established") == 2


def test_wins_at_equal_length_are_told_beside_the_raw_ones(toy, run_of, summary_of):
    toy.responses(0, ["Institutional considerations necessitate deliberation."] * 10)
    toy.responses(1, ["The cat sat on the mat."] * 9 + ["Institutional considerations."])
    # Nine are easier to read, and one is as hard.
    (found,) = said(summary_of(toy, run_of()), "At equal length")
    assert "round 1's responses win 95.0 % [66, 99] of 10 prompts" in found
    assert found.endswith("(95.0 % as they are).")
