"""What may change in a run that has started, and what its defaults come to."""

import pytest

from selfie.runs.changes import changed_immutable_fields
from selfie.runs.load import parse_run
from selfie.runs.method_fields import Round, Scoring
from selfie.runs.operation_fields import Deadlines
from selfie.runs.resolving import pairs_at_once, resolved, settings_of
from selfie.runs.sources import ModelSource, PromptSlice
from selfie.runs.spec import MethodFields, RunSpec

FOURTH = Round(prompts=PromptSlice(dataset="more.jsonl"))


@pytest.mark.parametrize(
    "values",
    [
        {"suspend": True},
        {"cancel": True},
        {"retries": 0},
        {"nodes": 4},
        {"micro_batch": 1},
        {"gpu": "separate"},
        {"deadlines": Deadlines(run_seconds=60)},
    ],
    ids=lambda values: next(iter(values)),
)
def test_how_a_run_is_carried_out_may_change_at_any_time(changed, three_rounds, values):
    assert changed_immutable_fields(three_rounds, changed(three_rounds, **values)) == []


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        ({"random_seed": 1}, ["spec.randomSeed"]),
        ({"resume_from": "s3://other/run"}, ["spec.resumeFrom"]),
        ({"scoring": Scoring(judge="longest", beta="0.2")}, ["spec.scoring.judge", "spec.scoring.beta"]),
        ({"reference_model": ModelSource(uri="hf://toy/base")}, ["spec.referenceModel"]),
    ],
    ids=["a number", "an address", "two fields of a part", "a part that was absent"],
)
def test_what_a_run_means_may_not_change(changed, three_rounds, values, paths):
    assert changed_immutable_fields(three_rounds, changed(three_rounds, **values)) == paths


def test_rounds_may_be_added_at_the_end_until_the_run_has_ended(changed, three_rounds):
    grown = changed(three_rounds, rounds=(*three_rounds.rounds, FOURTH))
    assert changed_immutable_fields(three_rounds, grown) == []
    assert changed_immutable_fields(three_rounds, grown, terminal=True) == ["spec.rounds"]


def test_rounds_may_be_neither_taken_out_nor_put_in_front_nor_changed(changed, three_rounds):
    fewer = changed(three_rounds, rounds=three_rounds.rounds[:2])
    before = changed(three_rounds, rounds=(FOURTH, *three_rounds.rounds))
    other = three_rounds.rounds[1].model_copy(update={"lambda_": "0.3"})
    changed_one = changed(three_rounds, rounds=(three_rounds.rounds[0], other, three_rounds.rounds[2]))
    assert changed_immutable_fields(three_rounds, fewer) == ["spec.rounds"]
    assert "spec.rounds[0].prompts.dataset" in changed_immutable_fields(three_rounds, before)
    assert changed_immutable_fields(three_rounds, changed_one) == ["spec.rounds[1].lambda"]


def test_a_default_that_is_written_out_is_no_change(three_rounds):
    assert changed_immutable_fields(three_rounds, resolved(three_rounds)) == []


def test_every_field_is_either_of_the_method_or_of_the_operation():
    operation = RunSpec.model_fields.keys() - MethodFields.model_fields.keys()
    assert {"suspend", "cancel", "nodes", "micro_batch", "gpu"} <= operation
    assert not {"model", "rounds", "training", "resume_from"} & operation


def test_rounds_extrapolate_by_a_half_a_quarter_an_eighth_and_on(three_rounds):
    assert [settings_of(three_rounds, number).lambda_ for number in (1, 2, 3)] == [0.5, 0.25, 0.125]
    assert [entry.lambda_ for entry in resolved(three_rounds).rounds] == ["0.5", "0.25", "0.125"]


def test_a_hundredth_round_still_has_a_lambda_that_a_file_can_hold(changed, three_rounds):
    many = resolved(changed(three_rounds, rounds=three_rounds.rounds[:1] * 100))
    assert RunSpec.model_validate(many.model_dump(by_alias=True)) == many
    assert float(many.rounds[99].lambda_) == pytest.approx(2.0**-100)


def test_a_rounds_own_values_come_before_the_runs(changed, three_rounds):
    own = three_rounds.rounds[0].model_copy(update={"lambda_": "0", "learning_rate": "1e-5", "epochs": 2})
    settings = settings_of(changed(three_rounds, rounds=(own,)), 1)
    assert (settings.learning_rate, settings.epochs, settings.lambda_, settings.scoring_lambda) == (
        1e-5,
        2,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("scoring", "strengths"),
    [
        (Scoring(), [0.5, 0.5, 0.25]),
        (Scoring(lambda_="2"), [2, 2, 2]),
        (Scoring(reference="none"), [0, 0, 0]),
    ],
    ids=["the round's, and for the seed the first round's", "the given one", "none without a reference"],
)
def test_the_judge_extrapolates_by(changed, three_rounds, scoring, strengths):
    spec = changed(three_rounds, scoring=scoring)
    assert [settings_of(spec, number).scoring_lambda for number in (0, 1, 2)] == strengths


@pytest.mark.parametrize(
    ("batch", "devices", "most", "taken"),
    [(32, 1, 4, 4), (2, 1, 4, 2), (6, 1, 4, 3), (32, 8, 4, 4), (7, 1, 4, 1)],
)
def test_a_device_takes_the_largest_even_part_of_its_share(
    changed, three_rounds, batch, devices, most, taken
):
    training = three_rounds.training.model_copy(update={"batch": batch})
    spec = changed(three_rounds, training=training, gpus_per_node=devices, micro_batch=most)
    assert pairs_at_once(spec) == taken


def test_a_written_decimal_keeps_its_text():
    text = "apiVersion: selfie.dev/v1alpha1\nkind: SelfieRun\nmetadata: {name: a}\nspec:\n  model: {uri: a}\n"
    run = parse_run(
        text + '  seed: {dataset: b, learningRate: "1.0e-05"}\n  rounds: [{prompts: {dataset: c}}]\n'
    )
    assert run.spec.seed.learning_rate == "1.0e-05"
