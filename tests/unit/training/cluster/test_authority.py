"""A request counts only where the run itself calls for the very same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from selfie.errors import FailedPrecondition, InvalidInput, NotFound, OutOfDate, PermissionDenied
from selfie.kube.objects import Object
from selfie.kube.pod_settings import begun_with
from selfie.runs.load import run_from_object
from selfie.training.cluster.authority import (
    CACHE_DIR,
    Asked,
    carried_out,
    require_equal,
    require_intent,
    require_place,
    required_parameters,
)
from training_runs import (
    NAMESPACE,
    asked_of,
    frozen_of,
    other_uid,
    published_steps,
    run_uri,
    selfie_run,
    trainer_settings,
)

PUBLISHED = published_steps("prepare", "rounds/00/seed", "rounds/00/publish", "rounds/01/filter")
COMPLETE = {
    "type": "Complete",
    "status": "True",
    "reason": "Completed",
    "message": "",
    "lastTransitionTime": None,
}


def attempt_of(asked: Asked, **changes: Any) -> Asked:
    return replace(asked, attempt=asked.attempt.model_copy(update=changes))


def test_what_the_run_calls_for_is_granted() -> None:
    owner = selfie_run("rounds/01/train", attempt=2)
    asked = asked_of(owner, manifests=PUBLISHED)
    assert require_place(asked.attempt, NAMESPACE) == (NAMESPACE, "toy")
    found, step = require_intent(asked, owner)
    assert found is owner
    run = carried_out(owner, frozen_of(owner), asked.attempt.run_uri)
    required = required_parameters(run, step, asked.attempt, PUBLISHED)
    require_equal(asked, required)
    assert required["cacheDir"] == CACHE_DIR


def test_another_namespace_is_not_served() -> None:
    asked = asked_of(selfie_run(namespace="elsewhere"))
    with pytest.raises(PermissionDenied, match="in the namespace elsewhere; this controller serves team"):
        require_place(asked.attempt, NAMESPACE)
    assert require_place(asked.attempt, None) == ("elsewhere", "toy")


def test_a_place_that_is_not_the_runs_is_refused() -> None:
    asked = asked_of(selfie_run())
    with pytest.raises(OutOfDate, match="is not the place of the run"):
        require_place(asked.attempt.model_copy(update={"run_uid": other_uid()}), NAMESPACE)
    with pytest.raises(InvalidInput, match="is no run of a cluster"):
        require_place(asked.attempt.model_copy(update={"run_uri": "file:///artifacts"}), NAMESPACE)


def test_without_a_run_there_is_nothing_to_do() -> None:
    with pytest.raises(NotFound, match="there is no SelfieRun"):
        require_intent(asked_of(selfie_run()), None)


Change = Callable[[Object], Any]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda run: run["metadata"].update(uid="another"),
            "run_uid: the SelfieRun of this name has the UID",
        ),
        (lambda run: run["metadata"].update(deletionTimestamp="2026-03-01T12:00:00Z"), "is being deleted"),
        (lambda run: run["spec"].update(suspend=True), "is suspended"),
        (lambda run: run["spec"].update(cancel=True), "was cancelled"),
        (
            lambda run: run["status"].update(
                conditions=[{**COMPLETE, "lastTransitionTime": "2026-03-01T12:00:00Z"}]
            ),
            "has ended",
        ),
        (lambda run: run["status"].update(step="rounds/00/seed"), "is at attempt 1 at rounds/00/seed"),
        (lambda run: run["status"].update(attempt=2), "is at attempt 2 at prepare"),
        (lambda run: run.pop("status"), "is at attempt 0 at None"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_is_not_about_to_do_it_refuses(change: Change, said: str) -> None:
    owner = selfie_run()
    asked = asked_of(owner)
    change(owner)
    with pytest.raises(OutOfDate, match=said) as caught:
        require_intent(asked, owner)
    assert caught.value.retryable
    assert isinstance(caught.value, FailedPrecondition)


def test_a_run_with_conditions_of_others_is_read_all_the_same() -> None:
    foreign = {"type": "example.com/Audited", "status": "True", "reason": "x"}
    owner = selfie_run(conditions=[foreign])
    require_intent(asked_of(owner), owner)


def test_another_program_or_request_than_the_attempts_own_is_refused() -> None:
    owner = selfie_run()
    asked = asked_of(owner)
    with pytest.raises(OutOfDate, match="program: 'train' is not what carries out 'prepare'"):
        require_intent(replace(asked, program="train"), owner)
    with pytest.raises(OutOfDate, match="request_id: "):
        require_intent(replace(asked, request_id=other_uid()), owner)


def test_the_run_is_carried_out_with_its_method_as_it_was_and_the_rest_as_it_is() -> None:
    owner = selfie_run(spec={"microBatch": 4})
    frozen = frozen_of(owner)
    owner["spec"]["microBatch"] = 2
    owner["spec"]["rounds"].append({"prompts": {"dataset": "more.jsonl", "count": 8}})
    run = carried_out(owner, frozen, run_uri(owner))
    assert run.spec.micro_batch == 2
    assert len(run.spec.rounds) == 2
    assert run.spec.rounds[0].prompts.dataset == "file:///usr/share/selfie/examples/data/prompts.jsonl"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"randomSeed": 7}, "random_seed"),
        ({"model": {"uri": "builtin://other"}}, "model"),
        ({"model": {"uri": "toy"}}, "model"),
        ({"training": {"beta": "0.2"}}, "training"),
        ({"rounds": [{"prompts": {"dataset": "data/other.jsonl", "count": 8}}]}, "rounds"),
        ({"rounds": [{"prompts": {"dataset": "prompts.jsonl", "count": 8}}]}, "rounds"),
        ({"rounds": [{"prompts": {"dataset": "data/prompts.jsonl", "count": 9}}]}, "rounds"),
        ({"seed": {"dataset": "s3://elsewhere/data/seed.jsonl", "heldout": "data/heldout.jsonl"}}, "seed"),
    ],
    ids=str,
)
def test_a_method_that_differs_from_the_one_at_the_start_is_refused(
    change: dict[str, Any], field: str
) -> None:
    frozen = frozen_of(selfie_run())
    owner = selfie_run(spec=change)
    with pytest.raises(OutOfDate, match=rf"spec\.{field}: is not what the run was started with"):
        carried_out(owner, frozen, run_uri(owner))


def test_artifacts_lie_where_the_run_was_started_with() -> None:
    owner = selfie_run()
    with pytest.raises(OutOfDate, match="the run keeps its artifacts at"):
        carried_out(owner, frozen_of(owner, root="s3://bucket"), run_uri(owner))


def test_a_specification_that_cannot_be_read_starts_nothing() -> None:
    owner = selfie_run()
    frozen = frozen_of(owner)
    owner["spec"]["rounds"] = []
    with pytest.raises(OutOfDate, match="spec: cannot be carried out"):
        carried_out(owner, frozen, run_uri(owner))


def test_a_step_whose_inputs_are_not_published_cannot_be_done() -> None:
    owner = selfie_run("rounds/01/train")
    run = frozen_of(owner).of(run_from_object(owner))
    asked = asked_of(owner, run, PUBLISHED)
    _, step = require_intent(asked, owner)
    some = {path: found for path, found in PUBLISHED.items() if path != "rounds/01/filter"}
    with pytest.raises(OutOfDate, match=r"reads what is not published: pairs \(rounds/01/filter\)"):
        required_parameters(run, step, asked.attempt, some)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learningRate": 1.0}, r"parameters_json\.learningRate: is 1.0, and the run calls for "),
        ({"policy": {"step": "rounds/00/publish", "group": "checkpoint", "digest": "e" * 64}}, "policy: "),
        ({"pairs": {"path": "elsewhere/manifest.json", "sha256": "0" * 64, "group": "pairs"}}, "pairs: "),
        ({"lambda": 0.9}, "lambda: "),
        ({"threads": 64}, "threads: is not among what the run calls for"),
        ({"microBatch": 64}, "microBatch: "),
        ({"cacheDir": "/etc"}, None),
    ],
    ids=str,
)
def test_parameters_that_differ_are_refused_by_their_names(change: dict[str, Any], said: str | None) -> None:
    owner = selfie_run("rounds/01/train")
    asked = asked_of(owner, manifests=PUBLISHED)
    _, step = require_intent(asked, owner)
    run = carried_out(owner, frozen_of(owner), asked.attempt.run_uri)
    required = required_parameters(run, step, asked.attempt, PUBLISHED)
    changed = replace(asked, parameters={**asked.parameters, **change})
    if said is None:
        # Where a pod keeps files is not the caller's to say, so what it says does not matter.
        require_equal(changed, required)
        return
    with pytest.raises(OutOfDate, match=said):
        require_equal(changed, required)


def test_a_parameter_that_is_missing_is_named() -> None:
    owner = selfie_run()
    asked = asked_of(owner)
    run = carried_out(owner, frozen_of(owner), asked.attempt.run_uri)
    required = required_parameters(run, require_intent(asked, owner)[1], asked.attempt, {})
    less = {name: value for name, value in asked.parameters.items() if name != "model"}
    with pytest.raises(OutOfDate, match=r"parameters_json\.model: .*or is missing"):
        require_equal(replace(asked, parameters=less), required)


def test_pods_have_the_image_and_size_of_the_runs_start_and_nothing_else_of_it() -> None:
    own = trainer_settings(image="registry.local:5000/selfie-gpu:2.0")
    fixed = trainer_settings(
        image="registry.local:5000/selfie-gpu@sha256:" + "0" * 64,
        resources={"limits": {"memory": "8Gi"}},
        serviceAccount="cluster-admin",
        automountToken=True,
        command=["sh", "-c", "anything"],
        volumes=[{"name": "host", "hostPath": {"path": "/"}}],
        env=[{"name": "EVIL", "value": "1"}],
    )
    assert begun_with(own, fixed) == own.model_copy(
        update={"image": fixed.image, "resources": fixed.resources}
    )


@pytest.mark.parametrize(
    "image",
    [
        "evil.example/selfie-gpu:2.0",
        "registry.local:5000/other:2.0",
        "selfie-gpu",
        "registry.local/selfie-gpu",
    ],
)
def test_an_image_of_another_repository_is_not_taken(image: str) -> None:
    own = trainer_settings(image="registry.local:5000/selfie-gpu:2.0")
    assert begun_with(own, trainer_settings(image=image)) == own
