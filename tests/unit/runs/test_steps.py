"""Steps, their names, and where their inputs come from."""

from uuid import UUID

import pytest

from selfie.runs.evaluations import RoundEvaluation
from selfie.runs.lineage import Input, Source, added_rounds, pin, sources_of
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary
from selfie.runs.steps import EVALUATOR, Step, request_id, step_at, steps_of

HEAD = "apiVersion: selfie.dev/v1alpha1\nkind: SelfieRun\nmetadata: {name: toy}\nspec:\n"


def spec_of(*lines):
    return parse_run(HEAD + "".join(f"  {line}\n" for line in lines)).spec


MODEL = "model: {uri: hf://toy/model}"
ROUNDS = (
    "rounds: [{prompts: {dataset: a.jsonl}}, {prompts: {dataset: b.jsonl}}, {prompts: {dataset: c.jsonl}}]"
)
SEED = "seed: {dataset: seed.jsonl, heldout: heldout.jsonl}"
BASE = "referenceModel: {uri: hf://toy/base}"


def test_a_path_names_exactly_one_step(evaluated):
    for step in steps_of(evaluated, added=[2]):
        assert step_at(step.path) == step


@pytest.mark.parametrize(
    "path", ["", "rounds/1/train", "rounds/01/eat", "rounds/01", "rounds/x/train", "prepare/a"]
)
def test_a_path_that_is_no_steps_names_none(path):
    assert step_at(path) is None


def test_a_round_that_was_added_copies_its_own_prompts_first():
    spec = spec_of(MODEL, SEED, ROUNDS)
    manifests = {"prepare": ManifestSummary("a", groups=frozenset({"prompts-round-01", "prompts-round-02"}))}
    added = added_rounds(spec, manifests)
    assert added == {3}
    assert [step.path for step in steps_of(spec, added) if step.name == "prepare"] == [
        "prepare",
        "rounds/03/prepare",
    ]
    source = sources_of(spec, Step(3, "generate"), (), added)["prompts"]
    assert source == Source("rounds/03/prepare", "prompts-round-03")
    assert sources_of(spec, Step(2, "generate"), (), added)["prompts"].step == "prepare"


def test_a_hundredth_round_has_its_own_place():
    assert step_at(Step(100, "train").path) == Step(100, "train")


def test_without_a_seed_round_zero_publishes_the_model_itself():
    spec = spec_of(MODEL, BASE, ROUNDS)
    assert [step.path for step in steps_of(spec)][:4] == [
        "prepare",
        "rounds/00/publish",
        "rounds/00/serve",
        "rounds/01/generate",
    ]
    assert sources_of(spec, Step(0, "publish"), ()) == {"checkpoint": Source("prepare", "model")}


def test_request_ids_are_uuids_that_tell_runs_steps_and_attempts_apart():
    ids = {
        request_id(run, Step(number, name), attempt)
        for run in ("a", "b")
        for number in (1, 2)
        for name in ("score", "train")
        for attempt in (1, 2)
    }
    assert len(ids) == 16
    assert all(str(UUID(text)) == text for text in ids)
    assert request_id("a", Step(1, "train"), 1) == request_id("a", Step(1, "train"), 1)


def test_an_id_never_changes_between_versions():
    assert request_id("uid", Step(1, "train"), 1) == "96ca0a66-1a27-532e-83be-ce9591a313cc"


def test_a_round_reads_what_the_rounds_before_published():
    spec = spec_of(MODEL, SEED, ROUNDS)
    policy = Source("rounds/01/publish", "checkpoint")
    assert sources_of(spec, Step(2, "generate"), ()) == {
        "prompts": Source("prepare", "prompts-round-02"),
        "policy": policy,
    }
    assert sources_of(spec, Step(2, "score"), ()) == {
        "samples": Source("rounds/02/generate", "samples"),
        "policy": policy,
        "reference": Source("prepare", "model"),
    }
    assert sources_of(spec, Step(2, "filter"), ()) == {"pairs": Source("rounds/02/score", "pairs")}
    assert sources_of(spec, Step(2, "train"), ()) == {
        "pairs": Source("rounds/02/filter", "pairs"),
        "policy": policy,
        "reference": policy,
    }
    assert sources_of(spec, Step(2, "publish"), ()) == {
        "checkpoint": Source("rounds/02/train", "checkpoint"),
        "policy": policy,
    }


@pytest.mark.parametrize(
    ("lines", "number", "reference"),
    [
        ((SEED,), 3, Source("prepare", "model")),
        ((SEED, BASE), 3, Source("prepare", "reference")),
        ((SEED, "scoring: {reference: previous}"), 1, Source("prepare", "model")),
        ((SEED, BASE, "scoring: {reference: previous}"), 1, Source("prepare", "reference")),
        ((SEED, "scoring: {reference: previous}"), 2, Source("rounds/00/publish", "checkpoint")),
        ((SEED, "scoring: {reference: previous}"), 3, Source("rounds/01/publish", "checkpoint")),
        ((SEED, "scoring: {reference: none}"), 3, Source("prepare", "model")),
    ],
    ids=[
        "the initial model is the model itself",
        "the initial model is the reference model where there is one",
        "round 1 has no previous policy, so its reference is the initial model",
        "round 1 has no previous policy, so its reference is the reference model",
        "round 2's policy came from the seed",
        "round 3's policy came from round 1",
        "judged without a reference, the initial model is held to measure against",
    ],
)
def test_the_judge_holds_the_policy_against(lines, number, reference):
    spec = spec_of(MODEL, *lines, ROUNDS)
    assert sources_of(spec, Step(number, "score"), ())["reference"] == reference


def test_after_falling_back_the_previous_policy_is_what_the_best_round_came_from():
    gates = "evaluation: {prompts: {dataset: e}, gates: {onBreach: fallBack, maxDivergence: '1'}}"
    spec = spec_of(MODEL, SEED, ROUNDS, "scoring: {reference: previous}", gates)
    evaluations = [
        RoundEvaluation(0, 0.5, None, (), 0),
        RoundEvaluation(1, 0.6, None, (), 1),
        RoundEvaluation(2, 0.4, None, ("diverged",), 1),
    ]
    sources = sources_of(spec, Step(3, "score"), evaluations)
    assert sources["policy"] == Source("rounds/01/publish", "checkpoint")
    assert sources["reference"] == Source("rounds/00/publish", "checkpoint")


def test_training_may_start_from_the_model_in_every_round():
    spec = spec_of(MODEL, SEED, ROUNDS, "training: {initialPolicy: initial}")
    start = Source("prepare", "model")
    training = sources_of(spec, Step(3, "train"), ())
    assert training["reference"] == start
    assert training["policy"] == Source("rounds/02/publish", "checkpoint")
    assert sources_of(spec, Step(3, "generate"), ())["policy"] == Source("rounds/02/publish", "checkpoint")


def test_divergence_is_always_measured_from_the_initial_model():
    spec = spec_of(
        MODEL, SEED, ROUNDS, "scoring: {reference: previous}", "evaluation: {prompts: {dataset: e}}"
    )
    assert sources_of(spec, Step(3, "evaluate-measures"), ())["reference"] == Source("prepare", "model")
    assert sources_of(spec, Step(3, "evaluate-heldout"), ())["reference"] == Source(
        "rounds/02/publish", "checkpoint"
    )


def test_the_initial_model_is_sampled_from_where_it_is_not_the_seed_policy_anyway():
    evaluation = "evaluation: {prompts: {dataset: e}}"
    initial = Step(0, "evaluate-initial")
    spec = spec_of(MODEL, SEED, ROUNDS, evaluation)
    assert steps_of(spec)[1] == initial
    assert sources_of(spec, initial, ()) == {
        "prompts": Source("prepare", "evaluation-prompts"),
        "policy": Source("prepare", "model"),
    }
    for without in (
        spec_of(MODEL, SEED, ROUNDS),
        spec_of(MODEL, BASE, ROUNDS, evaluation),
        spec_of(MODEL, SEED, ROUNDS, "evaluation: {prompts: {dataset: e}, initial: false}"),
    ):
        assert initial not in steps_of(without)


@pytest.mark.parametrize("initial", [True, False], ids=["sampled", "not sampled"])
def test_an_evaluator_reads_what_no_policy_is_trained_on_and_the_initial_model(initial):
    seed = "seed: {dataset: seed.jsonl, heldout: heldout.jsonl, size: 8}"
    evaluation = f"{{prompts: {{dataset: e}}, evaluator: bradleyTerry, initial: {str(initial).lower()}}}"
    spec = spec_of(MODEL, BASE, seed, ROUNDS, f"evaluation: {evaluation}")
    fitted = {
        "initial": Source("prepare", "model"),
        "pairs": Source("prepare", "evaluator"),
        "heldout": Source("prepare", "heldout"),
    }
    samples = {"samples": Source("rounds/00/evaluate-initial", "samples")} if initial else {}
    assert sources_of(spec, EVALUATOR, ()) == fitted | samples
    assert EVALUATOR.stage == "evaluate"
    assert sources_of(spec, Step(2, "evaluate-ratings"), ()) == {
        "policy": Source("rounds/02/publish", "checkpoint"),
        "initial": Source("prepare", "model"),
        "evaluator": Source("rounds/00/evaluator", "evaluator"),
        "samples": Source("rounds/02/evaluate-samples", "samples"),
    }


def test_weights_without_a_digest_are_not_pinned():
    manifests = {"prepare": ManifestSummary("a" * 64, digests={"model": "b" * 64})}
    sources = {"policy": Source("prepare", "model"), "reference": Source("prepare", "reference")}
    assert pin(sources, manifests) == {"policy": Input(sources["policy"], "a" * 64, "b" * 64)}
