"""Which steps of another run can be taken over, and which must be done again."""

import pytest

from selfie.runs.adoption import Adoption, adoption
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary
from selfie.runs.spec import RunSpec
from selfie.runs.steps import steps_of

HEAD = "apiVersion: selfie.dev/v1alpha1\nkind: SelfieRun\nmetadata: {name: toy}\nspec:\n"
FIELDS = {
    "model": "{uri: builtin://toy}",
    "seed": "{dataset: seed.jsonl, heldout: heldout.jsonl}",
    "rounds": "[{prompts: {dataset: a}}, {prompts: {dataset: b}}]",
    "evaluation": "{prompts: {dataset: e}}",
}


def spec_of(**fields: str) -> RunSpec:
    lines = "".join(f"  {name}: {value}\n" for name, value in (FIELDS | fields).items())
    return parse_run(HEAD + lines).spec


def published(spec: RunSpec, accuracies: tuple[float, ...] = ()) -> dict[str, ManifestSummary]:
    """Manifests of a run of which every step is done."""
    rounds = frozenset(f"prompts-round-{n:02d}" for n in range(1, len(spec.rounds) + 1))
    found = {step.path: ManifestSummary(step.path) for step in steps_of(spec)}
    groups = rounds | {"model", "seed", "heldout", "evaluation-prompts"}
    found["prepare"] = ManifestSummary("prepare", groups=groups)
    for number, accuracy in enumerate(accuracies):
        path = f"rounds/{number:02d}/evaluate-heldout"
        found[path] = ManifestSummary(path, measures={"accuracy": accuracy, "accuracy_gate": accuracy})
    return found


def taken(ours: RunSpec, theirs: RunSpec, **options) -> Adoption:
    manifests = published(theirs, options.pop("accuracies", ()))
    sound = options.pop("sound", set(manifests) - options.pop("damaged", set()))
    return adoption(ours, theirs, manifests, sound=sound)


def paths(found: Adoption) -> set[str]:
    return {step.path for step in found.steps}


def redone(ours: RunSpec, theirs: RunSpec, **options) -> list[str]:
    done = paths(taken(ours, theirs, **options))
    return [step.path for step in steps_of(ours) if step.path not in done]


def test_the_same_specification_takes_over_everything_in_order():
    spec = spec_of()
    assert taken(spec, spec).steps == steps_of(spec)


def test_how_a_run_is_carried_out_changes_nothing():
    other = spec_of(microBatch="1", retries="7", checkpointSeconds="33", suspend="true", gpu="separate")
    assert redone(other, spec_of()) == []


def test_another_seed_or_model_takes_over_nothing():
    for changed in (
        {"model": "{uri: builtin://other}"},
        {"randomSeed": "8"},
        {"seed": "{dataset: other.jsonl, heldout: heldout.jsonl}"},
    ):
        found = taken(spec_of(**changed), spec_of())
        assert found.steps == ()
        assert found.left == steps_of(spec_of(**changed))


def test_a_fork_in_a_round_does_again_what_follows_from_it_and_nothing_else():
    rounds = "[{prompts: {dataset: a}}, {prompts: {dataset: b}, lambda: '0.75'}]"
    again = redone(spec_of(rounds=rounds, scoring="{lambda: '0.5'}"), spec_of(scoring="{lambda: '0.5'}"))
    measured = ("publish", "serve", "evaluate-samples", "evaluate-heldout", "evaluate-measures")
    assert again == [f"rounds/02/{name}" for name in ("train", *measured)]


def test_another_filter_is_a_fork_after_the_scores():
    again = redone(spec_of(filter="{noisyPercent: 20}"), spec_of())
    assert again[0] == "rounds/01/filter"
    assert "rounds/01/generate" not in again
    assert "rounds/02/generate" in again


def test_another_judge_keeps_the_responses_and_the_measurements_of_the_seed():
    again = redone(spec_of(scoring="{judge: longest}"), spec_of())
    assert again[0] == "rounds/01/score"
    assert not any(path.startswith("rounds/00/") for path in again)


def test_a_control_on_the_seeds_pairs_starts_from_the_same_seed_policy():
    rounds = "[{prompts: {dataset: a, count: 8}}]"
    ours = spec_of(rounds=rounds, training="{pairs: seed}")
    again = redone(ours, spec_of(rounds=rounds))
    assert again[0] == "rounds/01/train"
    assert {path.split("/")[1] for path in again} == {"01"}


def test_rounds_that_are_added_are_all_that_is_done():
    rounds = FIELDS["rounds"].replace("]", ", {prompts: {dataset: c}}]")
    again = redone(spec_of(rounds=rounds), spec_of())
    assert {path.split("/")[1] for path in again} == {"03"}
    assert taken(spec_of(rounds=rounds), spec_of()).left_out == frozenset()


def test_other_prompts_for_a_round_are_prepared_by_themselves():
    ours = spec_of(rounds="[{prompts: {dataset: a}}, {prompts: {dataset: other}}]")
    found = taken(ours, spec_of())
    assert found.left_out == {"prompts-round-02"}
    assert "prepare" in paths(found)
    assert {path.split("/")[1] for path in redone(ours, spec_of())} == {"02"}


def test_fewer_rounds_take_over_what_they_have():
    ours = spec_of(rounds="[{prompts: {dataset: a}}]")
    assert redone(ours, spec_of()) == []


def test_what_is_damaged_is_done_again_with_all_that_was_made_from_it():
    spec = spec_of()
    again = redone(spec, spec, damaged={"rounds/01/filter"})
    assert again[0] == "rounds/01/filter"
    assert "rounds/01/score" not in again
    assert "rounds/02/score" in again
    assert redone(spec, spec, damaged={"prepare"}) == [step.path for step in steps_of(spec)]


def test_what_the_other_run_had_not_done_yet_is_left_to_do():
    spec = spec_of()
    done = {step.path for step in steps_of(spec) if step.round < 2}
    assert {path.split("/")[1] for path in redone(spec, spec, sound=done)} == {"02"}


@pytest.mark.parametrize("decides", ["fallBack", "stop"])
def test_rounds_are_taken_over_only_as_far_as_gates_are_known_to_let_them(decides):
    gates = f"{{prompts: {{dataset: e}}, gates: {{onBreach: {decides}, maxAccuracyDrop: '0.05'}}}}"
    spec = spec_of(evaluation=gates)
    assert redone(spec, spec, accuracies=(0.7, 0.8, 0.9)) == []
    unmeasured = redone(spec, spec, damaged={"rounds/00/evaluate-heldout"}, accuracies=(0.7, 0.8, 0.9))
    assert unmeasured[0] == "rounds/00/evaluate-heldout"
    assert "rounds/01/generate" in unmeasured


def test_a_gate_that_stops_this_run_takes_no_later_round_over():
    gates = "{prompts: {dataset: e}, gates: {onBreach: stop, maxAccuracyDrop: '0.05'}}"
    found = taken(spec_of(evaluation=gates), spec_of(), accuracies=(0.9, 0.7, 0.9))
    assert {path.split("/")[1] for path in paths(found) if "/" in path} == {"00", "01"}


def test_a_fall_back_that_the_other_run_did_not_make_is_a_fork():
    gates = "{prompts: {dataset: e}, gates: {onBreach: fallBack, maxAccuracyDrop: '0.05'}}"
    again = redone(spec_of(evaluation=gates), spec_of(), accuracies=(0.9, 0.7, 0.9))
    assert again[0] == "rounds/02/generate"


SIZED = "{dataset: seed.jsonl, heldout: heldout.jsonl, size: 8}"
FITTED = "{prompts: {dataset: e}, evaluator: bradleyTerry}"


def test_a_fork_is_rated_by_the_evaluator_that_the_other_run_fitted():
    fork = spec_of(seed=SIZED, evaluation=FITTED, filter="{noisyPercent: 20}")
    again = redone(fork, spec_of(seed=SIZED, evaluation=FITTED))
    assert again[0] == "rounds/01/filter"
    assert "rounds/01/evaluate-ratings" in again
    assert not any(path.startswith("rounds/00/") for path in again)


def test_an_evaluator_on_other_pairs_needs_another_prepare_and_so_all_is_done_again():
    ours = spec_of(seed=SIZED, evaluation=FITTED.replace("Terry", "Terry, evaluatorPairs: 99"))
    assert redone(ours, spec_of(seed=SIZED, evaluation=FITTED)) == [step.path for step in steps_of(ours)]


def test_adopting_is_the_first_step_of_a_run_that_resumes_from_another():
    spec = spec_of(resumeFrom="file:///runs/other")
    assert [step.path for step in steps_of(spec)][:2] == ["adopt", "prepare"]
    assert steps_of(spec_of())[0].path == "prepare"
    assert redone(spec, spec_of()) == ["adopt"]
