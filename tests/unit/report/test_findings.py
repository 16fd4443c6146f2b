"""The sentences of the summary claim what the figures allow and nothing else."""

import pytest

from selfie.report.gather import gather
from selfie.report.summary import summarise
from selfie.runs.status import RunStatus


@pytest.fixture
def summary_of():
    def make(toy, run) -> list[str]:
        return summarise(gather(toy.store, run, RunStatus()))

    return make


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
    assert "+0.0 [+0.0, +0.0]" in found
    assert found.endswith("not established to differ.")
