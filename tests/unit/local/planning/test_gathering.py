"""From a specification to its plan, with toys for what would be measured."""

import json
from pathlib import Path

import pytest

from selfie.local.planning import gathering
from selfie.local.planning.gathering import plan_of
from selfie.runs.estimates.advice import Machine
from selfie.runs.estimates.measured import Measured, SamplingTime, ScoringTime, TrainingTime
from selfie.runs.estimates.plans import RunPlan, object_of_plan
from selfie.runs.estimates.trials import Trials
from selfie.runs.load import run_from_object
from selfie.runs.steps import steps_of

MACHINE = Machine(cores=2, memory=16e9, disk=1e12)


def run_of(model: str, **changes):
    rounds = [{"prompts": {"dataset": "s3://b/p.jsonl", "count": 40}}]
    seed = {"dataset": "s3://b/s.jsonl", "heldout": "s3://b/h.jsonl", "size": 50}
    spec = {"model": {"uri": model}, "seed": seed, "rounds": rounds, **changes}
    head = {"apiVersion": "selfie.dev/v1alpha1", "kind": "SelfieRun", "metadata": {"name": "toy"}}
    return run_from_object({**head, "spec": spec})


def attempt(trials: Trials, _model: Path) -> Measured:
    """A machine that takes a second for everything."""
    return Measured(
        ScoringTime(trial=trials.scoring, seconds=1.0, peak_bytes=1e9),
        SamplingTime(trial=trials.sampling, step_seconds=1.0, few_step_seconds=0.5, peak_bytes=1e9),
        TrainingTime(
            trial=trials.training, seconds=1.0, update_seconds=1.0, partition_seconds=1.0, peak_bytes=1e9
        ),
    )


def plan(run, *, cache: Path, attempt=None) -> RunPlan:
    return plan_of(run, machine=MACHINE, cache_root=cache, attempt=attempt)


def statement(found: RunPlan, subject: str) -> str:
    return next(entry.statement for entry in found.assumptions if entry.subject == subject)


def test_a_plan_has_every_step_and_says_what_it_assumes(tiny_checkpoint, tmp_path):
    run = run_of(str(tiny_checkpoint))
    found = plan(run, cache=tmp_path)
    assert [entry.step for entry in found.estimate.steps] == list(steps_of(run.spec))
    subjects = {entry.subject for entry in found.assumptions}
    assert {"model", "seed", "heldout", "prompts-round-01", "lengths", "responses", "rates"} <= subjects
    assert "assumed of 2 cores" in statement(found, "rates")
    assert found.notes == (gathering.QUICK,)


def test_what_is_measured_replaces_what_is_assumed(tiny_checkpoint, tmp_path):
    found = plan(run_of(str(tiny_checkpoint)), cache=tmp_path, attempt=attempt)
    assert len(found.findings) == 4
    assert "measured here" in statement(found, "rates")
    assert found.notes == ()
    quick = plan(run_of(str(tiny_checkpoint)), cache=tmp_path)
    assert found.estimate.seconds.likely > 2 * quick.estimate.seconds.likely


def test_what_was_measured_in_part_says_which_part(tiny_checkpoint, tmp_path):
    def scoring_alone(trials: Trials, model: Path) -> Measured:
        return Measured(scoring=attempt(trials, model).scoring, notes=("training was not measured",))

    found = plan(run_of(str(tiny_checkpoint)), cache=tmp_path, attempt=scoring_alone)
    assert statement(found, "rates").startswith("scoring measured here, the rest follows from it")
    assert found.notes == ("training was not measured",)


@pytest.mark.parametrize(
    ("model", "changes", "note"),
    [
        ("hf://org/some-7b", {}, gathering.NO_WEIGHTS),
        ("tiny", {"gpusPerNode": 1}, gathering.ELSEWHERE),
    ],
)
def test_where_nothing_can_be_measured_the_plan_says_why(tiny_checkpoint, tmp_path, model, changes, note):
    def never(_trials: Trials, _model: Path) -> Measured:
        raise AssertionError("nothing is to be tried")

    uri = str(tiny_checkpoint) if model == "tiny" else model
    assert plan(run_of(uri, **changes), cache=tmp_path, attempt=never).notes == (note,)


def test_gpu_hours_are_told_where_the_run_asks_for_accelerators(tmp_path):
    found = plan(run_of("hf://org/some-7b", gpusPerNode=4), cache=tmp_path)
    hours = object_of_plan(found)["total"]["gpuHours"]
    assert hours.keys() == {"engine", "scoring", "trainer"}
    assert hours["trainer"]["low"] > 0
    assert "data-centre GPU" in statement(found, "rates")
    assert "training on 1 x 4" in statement(found, "devices")


def test_another_reference_model_is_told_and_counted(tiny_checkpoint, tmp_path):
    run = run_of(str(tiny_checkpoint), referenceModel={"uri": "hf://org/some-7b"})
    found = plan(run, cache=tmp_path)
    assert "like Mistral-7B" in statement(found, "reference model")
    scoring = object_of_plan(found)["total"]["memoryBytes"]["scoring"]
    assert scoring["low"] > 28e9


def test_as_json_a_plan_has_the_documented_keys(tiny_checkpoint, tmp_path):
    found = object_of_plan(plan(run_of(str(tiny_checkpoint)), cache=tmp_path, attempt=attempt))
    assert json.loads(json.dumps(found)) == found
    assert list(found) == [
        "apiVersion",
        "kind",
        "run",
        "steps",
        "rounds",
        "total",
        "measured",
        "notes",
        "assumptions",
        "advice",
    ]
    step = found["steps"][1]
    assert (step["path"], step["round"], step["step"], step["stage"]) == ("rounds/00/seed", 0, "seed", "seed")
    assert step["pairs"] == {"low": 50, "likely": 50, "high": 50}
    assert step["memoryBytes"].keys() == {"trainer"}
    assert found["total"]["diskBytes"].keys() == {
        "models",
        "checkpoints",
        "retainedCheckpoints",
        "dataSets",
        "whole",
        "withRetention",
    }
    seconds = sum(entry["seconds"]["likely"] for entry in found["rounds"])
    assert seconds == pytest.approx(found["total"]["seconds"]["likely"], rel=1e-3)
