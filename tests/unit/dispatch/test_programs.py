"""Parameters of the programs are exactly what the programs themselves accept."""

import json
from pathlib import Path
from typing import Any

import protovalidate
import pytest

from selfie.artifacts.programs import parse
from selfie.dispatch.programs import create_job
from selfie.prepare.parameters import PrepareParameters
from selfie.publish.parameters import PublishParameters
from selfie.rating.parameters import FitParameters, RateParameters
from selfie.training.trainer.parameters import TrainingParameters
from selfie.v1 import training_pb2

CACHE = Path("/cache")


def parameters_of(call) -> dict[str, Any]:
    parameters: dict[str, Any] = json.loads(create_job(call, CACHE).parameters_json)
    return parameters


def train(call) -> TrainingParameters:
    return parse(TrainingParameters, parameters_of(call))


@pytest.mark.parametrize(
    ("path", "program"),
    [
        ("prepare", training_pb2.PROGRAM_PREPARE),
        ("rounds/00/seed", training_pb2.PROGRAM_TRAIN),
        ("rounds/01/train", training_pb2.PROGRAM_TRAIN),
        ("rounds/00/publish", training_pb2.PROGRAM_PUBLISH),
        ("rounds/02/publish", training_pb2.PROGRAM_PUBLISH),
        ("rounds/00/evaluator", training_pb2.PROGRAM_RATE),
        ("rounds/01/evaluate-ratings", training_pb2.PROGRAM_RATE),
    ],
)
def test_every_job_keeps_the_bounds_of_its_proto_and_names_its_program(make_call, path, program):
    request = create_job(make_call(path), CACHE)
    assert not protovalidate.collect_violations(request)
    assert request.program == program
    assert json.loads(request.parameters_json)["attempt"]["step"] == path


def test_prepare_is_told_every_data_set_with_its_slice(make_call):
    found = parse(PrepareParameters, parameters_of(make_call("prepare")))
    assert (found.seed.dataset, found.seed.size) == ("seed.jsonl", 8)
    assert (found.heldout.dataset, found.heldout.size) == ("heldout.jsonl", 4)
    assert [(entry.start, entry.count) for entry in found.rounds] == [(0, 8), (8, 8)]
    assert (found.evaluation.start, found.evaluation.count) == (16, 8)
    assert found.evaluator_pairs == 1000
    assert found.max_prompt_tokens == 1024
    assert found.reference_model is None
    assert found.cache_dir == CACHE


def test_an_evaluator_is_fitted_on_pairs_of_its_own_by_the_initial_model(make_call):
    call = make_call("rounds/00/evaluator")
    found = parse(FitParameters, parameters_of(call))
    assert (found.initial.step, found.initial.group) == ("prepare", "model")
    assert found.initial.digest == call.inputs["initial"].weights_digest
    groups = {"pairs": "evaluator", "heldout": "heldout", "samples": "samples"}
    assert {role: getattr(found, role).group for role in groups} == groups
    assert found.samples.path == "rounds/00/evaluate-initial/manifest.json"


def test_responses_are_rated_by_the_very_evaluator_that_was_fitted(make_call):
    call = make_call("rounds/02/evaluate-ratings")
    found = parse(RateParameters, parameters_of(call))
    assert found.evaluator.path == "rounds/00/evaluator/manifest.json"
    assert found.evaluator.sha256 == call.inputs["evaluator"].manifest_sha256
    assert found.samples.path == "rounds/02/evaluate-samples/manifest.json"
    assert (
        found.initial.digest
        == parse(FitParameters, parameters_of(make_call("rounds/00/evaluator"))).initial.digest
    )


def test_a_control_trains_on_the_seeds_pairs_in_as_many_steps_as_its_own_would_take(make_call):
    control = train(make_call("rounds/02/train", extra="training: {pairs: seed, batch: 3, epochs: 2}"))
    assert (control.pairs.path, control.pairs.group) == ("prepare/manifest.json", "seed")
    assert (control.kind, control.refinement) == ("seed", "none")
    assert control.max_steps == 2 * 3  # 8 prompts in steps of 3
    own = train(make_call("rounds/02/train", extra="training: {batch: 3, epochs: 2}"))
    assert (own.kind, own.max_steps, own.pairs.group) == ("round", 0, "pairs")
    assert train(make_call("rounds/00/seed", extra="training: {pairs: seed}")).max_steps == 0
    assert control.policy == own.policy


def test_prepare_is_told_of_another_reference_where_there_is_one(make_call):
    extra = "referenceModel: {uri: hf://toy/base, revision: main}"
    found = parse(PrepareParameters, parameters_of(make_call("prepare", extra=extra)))
    assert (found.reference_model.uri, found.reference_model.revision) == ("hf://toy/base", "main")


@pytest.mark.parametrize(("number", "source"), [(0, "rounds/00/seed"), (1, "rounds/01/train")])
def test_publish_is_told_which_weights_and_what_goes_into_the_card(make_call, number, source):
    found = parse(PublishParameters, parameters_of(make_call(f"rounds/{number:02d}/publish")))
    assert (found.source.step, found.source.group) == (source, "checkpoint")
    assert (found.run_name, found.round, found.base_model) == ("toy", number, "builtin://toy")


def test_the_seed_is_trained_from_the_model_on_peoples_labels_without_refinement(make_call):
    found = train(make_call("rounds/00/seed"))
    assert (found.kind, found.refinement, found.lambda_) == ("seed", "none", 0)
    assert (found.start.step, found.start.group) == ("prepare", "model")
    assert (found.pairs.path, found.pairs.group) == ("prepare/manifest.json", "seed")
    assert (found.learning_rate, found.epochs) == (1e-5, 2)


def test_a_round_is_trained_from_the_policy_before_on_what_the_filter_left(make_call):
    found = train(make_call("rounds/02/train"))
    assert (found.kind, found.refinement, found.lambda_) == ("round", "online", 0.125)
    assert (found.start.step, found.start.group) == ("rounds/01/publish", "checkpoint")
    assert (found.pairs.path, found.pairs.group) == ("rounds/02/filter/manifest.json", "pairs")
    assert (found.learning_rate, found.epochs) == (5e-7, 1)


def test_every_choice_of_the_training_reaches_the_trainer(make_call):
    extra = (
        'training: {beta: "0.2", learningRate: "1e-6", epochs: 2, batch: 8, '
        "threshold: parity, refinement: offline, precision: bfloat16}\n"
        'filter: {smoothing: "0.3", noisyPercent: 20, warmupPercent: 5}\n'
        "microBatch: 3\ncheckpointSeconds: 60"
    )
    found = train(make_call("rounds/01/train", extra=extra))
    assert (found.beta, found.learning_rate, found.epochs, found.batch) == (0.2, 1e-6, 2, 8)
    assert (found.threshold, found.refinement, found.precision) == ("parity", "offline", "bfloat16")
    assert (found.smoothing, found.noisy_percent, found.warmup_percent) == (0.3, 20, 5)
    assert (found.micro_batch, found.checkpoint_seconds) == (2, 60)
    assert found.cache_dir == CACHE


def test_a_window_of_the_threshold_reaches_the_trainer(make_call):
    assert train(make_call("rounds/01/train", extra="filter: {window: 64}")).window == 64


def test_low_rank_adapters_reach_the_trainer(make_call):
    found = train(make_call("rounds/01/train", extra="training: {lora: {rank: 4, alpha: 8}}"))
    assert (found.lora.rank, found.lora.alpha) == (4, 8)


def test_a_run_that_always_starts_from_the_initial_model_does_so(make_call):
    found = train(make_call("rounds/02/train", extra="training: {initialPolicy: initial}"))
    assert (found.start.step, found.start.group) == ("prepare", "model")
    assert found.policy.step == "rounds/01/publish"


def test_two_rounds_are_trained_in_different_orders_and_two_attempts_in_the_same(make_call):
    seeds = [
        train(make_call(path, attempt=attempt)).random_seed
        for path, attempt in (("rounds/01/train", 1), ("rounds/02/train", 1), ("rounds/01/train", 2))
    ]
    assert seeds[0] != seeds[1]
    assert seeds[0] == seeds[2]
