"""Gates and the best round: what a run does when its measurements cross a bound."""

import pytest

from selfie.runs.evaluation_fields import Evaluation, Gates
from selfie.runs.status import derived_message, derived_reason


def measured(*accuracies, **others):
    """Measures by step path: one accuracy a round, and lists of other measures by name."""
    found = {}
    for number, accuracy in enumerate(accuracies):
        found[f"rounds/{number:02d}/evaluate-heldout"] = {"accuracy": accuracy, "accuracy_gate": accuracy}
        found[f"rounds/{number:02d}/evaluate-measures"] = {
            name: values[number] for name, values in others.items()
        }
    return found


@pytest.fixture
def gated(changed, three_rounds):
    def make(**bounds):
        evaluation = Evaluation(prompts=three_rounds.evaluation.prompts, gates=Gates(**bounds))
        return changed(three_rounds, evaluation=evaluation)

    return make


def test_the_best_round_is_the_most_accurate_one_and_the_earlier_of_equals(make_world):
    best = make_world(measures=measured(0.6, 0.7, 0.7, 0.65)).run().status.best
    assert (best.round, best.step, best.accuracy) == (1, "rounds/01/publish", 0.7)


def test_the_best_accuracy_has_as_many_digits_as_a_column_of_kubectl_shows(make_world):
    assert make_world(measures=measured(24 / 37, 0.5, 0.5, 0.5)).run().status.best.accuracy == 0.6486


def test_the_accuracy_that_chooses_is_not_the_one_that_is_reported(make_world):
    measures = {
        f"rounds/{number:02d}/evaluate-heldout": {"accuracy": shown, "accuracy_gate": chosen}
        for number, (shown, chosen) in enumerate([(0.9, 0.5), (0.6, 0.7), (0.6, 0.6), (0.6, 0.6)])
    }
    status = make_world(measures=measures).run().status
    assert status.best.round == 1
    assert [entry.accuracy.value for entry in status.rounds] == [0.9, 0.6, 0.6, 0.6]


def test_a_breach_that_is_only_reported_is_noted_and_nothing_else(make_world, gated):
    world = make_world(gated(max_accuracy_drop="0.05"), measures=measured(0.7, 0.6, 0.66, 0.7)).run()
    assert derived_reason(world.status) == "Completed"
    assert [entry.breaches for entry in world.status.rounds] == [
        (),
        ("accuracy fell from 0.700 to 0.600, more than maxAccuracyDrop 0.05",),
        (),
        (),
    ]


def test_a_drop_of_exactly_the_bound_is_no_breach(make_world, gated):
    world = make_world(gated(max_accuracy_drop="0.05"), measures=measured(0.65, 0.6, 0.6, 0.6)).run()
    assert all(entry.breaches == () for entry in world.status.rounds)


def test_a_breach_that_stops_completes_the_run_there_and_says_why(make_world, gated):
    spec = gated(on_breach="stop", max_accuracy_drop="0.05")
    world = make_world(spec, measures=measured(0.7, 0.6, 0.7, 0.7)).run()
    assert derived_reason(world.status) == "GateBreached"
    assert derived_message(world.status).startswith("stopped after round 1 of 3: accuracy fell")
    assert "rounds/01/evaluate-measures" in world.manifests
    assert "rounds/02/generate" not in world.manifests
    assert world.status.best.round == 0
    assert world.status.progress == "17/17"


def test_a_breach_in_the_last_round_is_an_ordinary_end(make_world, gated):
    spec = gated(on_breach="stop", max_accuracy_drop="0.05")
    world = make_world(spec, measures=measured(0.7, 0.7, 0.7, 0.6)).run()
    assert derived_reason(world.status) == "Completed"
    assert world.status.rounds[3].breaches != ()


def test_a_breach_that_falls_back_makes_the_next_round_with_the_best_policy(make_world, gated):
    spec = gated(on_breach="fallBack", max_accuracy_drop="0.05")
    world = make_world(spec, measures=measured(0.6, 0.7, 0.5, 0.7)).run()
    used = {
        path: {role: entry.source.step for role, entry in work.start.inputs.items()}
        for (path, _), work in world.works.items()
    }
    assert used["rounds/02/generate"]["policy"] == "rounds/01/publish"
    assert used["rounds/03/generate"]["policy"] == "rounds/01/publish"
    assert used["rounds/03/score"]["policy"] == "rounds/01/publish"
    assert used["rounds/03/train"]["policy"] == "rounds/01/publish"
    assert used["rounds/03/evaluate-samples"]["policy"] == "rounds/03/publish"
    assert [entry.policy_round for entry in world.status.rounds] == [None, 0, 1, 1]


def test_a_run_without_a_sound_round_falls_back_to_the_seed(make_world, gated):
    spec = gated(on_breach="fallBack", max_divergence="0.1")
    world = make_world(spec, measures=measured(0.6, 0.7, 0.8, 0.9, divergence=[1, 1, 1, 1])).run()
    assert [entry.policy_round for entry in world.status.rounds] == [None, 0, 0, 0]
    assert world.status.best is None


@pytest.mark.parametrize(
    ("bound", "values", "words"),
    [
        (
            {"max_length_ratio": "1.5"},
            {"mean_tokens": [50, 50, 76, 50]},
            "mean length grew from 50.0 to 76.0",
        ),
        ({"max_divergence": "0.2"}, {"divergence": [0.1, 0.1, 0.3, 0.1]}, "divergence is 0.3000"),
        ({"min_finished_share": "0.5"}, {"finished_share": [0.9, 0.6, 0.2, 0.9]}, "only 0.200 of responses"),
        (
            {"max_duplicate_share": "0.5"},
            {"duplicate_share": [0.0, 0.5, 0.6, 0.1]},
            "0.600 of responses repeat an earlier one",
        ),
        (
            {"max_divergence": "0.2"},
            {"divergence": [0.1, 0.1, float("nan"), 0.1]},
            "no divergence was measured",
        ),
    ],
    ids=[
        "responses grow too long",
        "policy diverges",
        "responses do not finish",
        "responses repeat",
        "divergence is no number",
    ],
)
def test_each_gate_finds_its_own_collapse(make_world, gated, bound, values, words):
    world = make_world(gated(**bound), measures=measured(0.6, 0.6, 0.9, 0.6, **values)).run()
    assert [bool(entry.breaches) for entry in world.status.rounds] == [False, False, True, False]
    assert world.status.rounds[2].breaches[0].startswith(words)
    assert world.status.best.round == 0
