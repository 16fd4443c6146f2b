"""What the services are asked, step by step, is made from the specification alone and within bounds."""

from collections.abc import Callable

import protovalidate
import pytest
from google.protobuf.message import Message

from selfie.dispatch import requests
from selfie.dispatch.calls import StepCall
from selfie.v1 import filtering_pb2, scoring_pb2

VALIDATOR = protovalidate.Validator()
MAKERS: dict[str, Callable[[StepCall], Message]] = {
    "generate": requests.generate_dataset,
    "evaluate-samples": requests.generate_dataset,
    "serve": requests.verify_engine,
    "score": requests.score_dataset,
    "evaluate-heldout": requests.score_dataset,
    "evaluate-measures": requests.score_dataset,
    "filter": requests.filter_dataset,
}
EXTREMES = (
    "",
    'generation: {temperature: "10", topP: "0.01", samplesPerPrompt: 64, maxNewTokens: 32768}',
    'scoring: {judge: longest, pairing: random, lengthNormalization: mean, beta: "100", reference: previous}',
    "scoring: {reference: none}",
    'filter: {noisyPercent: 100, smoothing: "0.5", action: drop, cut: keep, ties: keep, duplicates: keep}',
)


def problems(request: Message) -> list[str]:
    return [violation.proto.message for violation in VALIDATOR.collect_violations(request)]


@pytest.mark.parametrize("extra", EXTREMES)
@pytest.mark.parametrize("name", MAKERS)
def test_every_request_keeps_the_bounds_of_its_proto(make_call, name, extra):
    assert problems(MAKERS[name](make_call(f"rounds/01/{name}", extra=extra))) == []


@pytest.mark.parametrize("name", ["serve", "evaluate-samples", "evaluate-heldout", "evaluate-measures"])
def test_the_seed_policy_is_measured_by_valid_requests_too(make_call, name):
    assert problems(MAKERS[name](make_call(f"rounds/00/{name}"))) == []


def test_prompts_are_those_of_the_round_and_the_policy_that_of_the_round_before(make_call):
    request = requests.generate_dataset(make_call("rounds/02/generate"))
    assert (request.prompts.path, request.group) == ("prepare/manifest.json", "prompts-round-02")
    assert (request.policy.step, request.policy.group) == ("rounds/01/publish", "checkpoint")


def test_evaluation_draws_its_own_number_of_samples(make_call):
    extra = "generation: {samplesPerPrompt: 4}"
    assert requests.generate_dataset(make_call("rounds/01/generate", extra=extra)).samples_per_prompt == 4
    assert (
        requests.generate_dataset(make_call("rounds/01/evaluate-samples", extra=extra)).samples_per_prompt
        == 1
    )


def test_a_shard_is_bounded_in_responses_and_never_empty(make_call):
    few = requests.generate_dataset(
        make_call("rounds/01/generate", extra="generation: {samplesPerPrompt: 4}")
    )
    many = requests.generate_dataset(
        make_call("rounds/01/generate", extra="generation: {samplesPerPrompt: 64}")
    )
    assert few.shard_rows * 4 == requests.RESPONSES_PER_SHARD
    assert many.shard_rows == 1


@pytest.mark.parametrize(
    ("step", "judge"),
    [
        ("score", scoring_pb2.JUDGE_LONGEST),
        ("evaluate-heldout", scoring_pb2.JUDGE_IMPLICIT),
        ("evaluate-measures", scoring_pb2.JUDGE_IMPLICIT),
    ],
)
def test_another_judge_labels_the_rounds_and_what_is_measured_stays_the_implicit_one(make_call, step, judge):
    request = requests.score_dataset(make_call(f"rounds/01/{step}", extra="scoring: {judge: longest}"))
    assert request.judge == judge


def test_held_out_pairs_are_scored_as_pairs_and_responses_as_samples(make_call):
    heldout = requests.score_dataset(make_call("rounds/01/evaluate-heldout"))
    measured = requests.score_dataset(make_call("rounds/01/evaluate-measures"))
    assert (heldout.kind, heldout.group) == (scoring_pb2.DATASET_KIND_PREFERENCES, "heldout")
    assert (measured.kind, measured.group) == (scoring_pb2.DATASET_KIND_SAMPLES, "samples")
    assert measured.input.path == "rounds/01/evaluate-samples/manifest.json"


def test_divergence_is_measured_on_samples_alone_and_costs_nothing_else(make_call):
    measured = {
        name: requests.score_dataset(make_call(f"rounds/01/{name}")).measure_divergence
        for name in ("score", "evaluate-heldout", "evaluate-measures")
    }
    assert measured == {"score": False, "evaluate-heldout": False, "evaluate-measures": True}


@pytest.mark.parametrize(("round_", "strength"), [("01", 0.5), ("02", 0.125)])
def test_the_second_confidence_is_extrapolated_as_the_round_says(make_call, round_, strength):
    request = requests.score_dataset(make_call(f"rounds/{round_}/score"))
    assert getattr(request, "lambda") == strength


def test_held_out_pairs_take_over_the_references_numbers_of_round_0(make_call):
    later = requests.score_dataset(make_call("rounds/02/evaluate-heldout"))
    assert later.reference_scores.path == "rounds/00/evaluate-heldout/manifest.json"
    assert getattr(later, "lambda") == 0
    for step, extra in (("rounds/00/evaluate-heldout", ""), ("rounds/02/score", "")):
        assert not requests.score_dataset(make_call(step, extra=extra)).HasField("reference_scores")
    moving = make_call("rounds/02/evaluate-heldout", extra="scoring: {reference: previous}")
    assert not requests.score_dataset(moving).HasField("reference_scores")


def test_a_judge_without_a_reference_still_holds_one_to_measure_against(make_call):
    request = requests.score_dataset(make_call("rounds/01/score", extra="scoring: {reference: none}"))
    assert request.without_reference
    assert (request.reference.step, request.reference.group) == ("prepare", "model")
    assert getattr(request, "lambda") == 0


def test_only_finished_responses_are_paired_unless_the_specification_says_otherwise(make_call):
    def finished_only(step: str, extra: str = "") -> bool:
        return requests.score_dataset(make_call(step, extra=extra)).finished_only

    assert finished_only("rounds/01/score")
    assert not finished_only("rounds/01/score", "filter: {cut: dropCutWinners}")
    assert not finished_only("rounds/01/evaluate-measures")


def test_the_filter_is_asked_for_what_the_specification_says(make_call):
    extra = 'filter: {noisyPercent: 25, smoothing: "0.2", action: drop, cut: dropBothCut, ties: keep}'
    rules = requests.filter_dataset(make_call("rounds/01/filter", extra=extra)).rules
    assert rules == filtering_pb2.FilterRules(
        noisy_percent=25,
        smoothing=0.2,
        action=filtering_pb2.NOISE_ACTION_DROP,
        cut=filtering_pb2.CUT_POLICY_DROP_BOTH_CUT,
        keep_ties=True,
        keep_duplicates=False,
    )


def test_a_step_is_as_random_in_every_attempt_and_differs_from_every_other_step(make_call):
    steps = [
        f"rounds/{number}/{name}" for number in ("01", "02") for name in ("generate", "evaluate-samples")
    ]
    seeds = {requests.generate_dataset(make_call(step)).random_seed for step in steps}
    assert len(seeds) == len(steps)
    first, second = (make_call("rounds/01/generate", attempt=number) for number in (1, 2))
    assert first.random_seed() == second.random_seed()
    assert first.request_id != second.request_id


def test_another_random_seed_of_the_run_is_another_one_of_every_step(make_call):
    plain, other = (make_call("rounds/01/generate", extra=extra) for extra in ("", "randomSeed: 7"))
    assert plain.random_seed() != other.random_seed()
    assert make_call("rounds/01/train").random_seed(bits=32) < 2**32


def test_an_attempt_is_told_by_run_step_and_number(make_call):
    message = make_call("rounds/01/score", attempt=3).attempt_message()
    assert (message.run_uri, message.step, message.number) == ("file:///runs/toy", "rounds/01/score", 3)
