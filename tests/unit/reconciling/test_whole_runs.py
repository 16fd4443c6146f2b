"""A run from its creation to its end in a simulated release."""

import json

import pytest

from selfie.artifacts.run_files import read_run
from selfie.kube.objects import SELFIE_RUN, uid_of
from selfie.runs.names import run_path
from selfie.runs.status import derived_reason


async def test_a_run_goes_through_all_its_rounds_and_leaves_nothing_behind(release, run_object):
    key = release.apply(run_object())
    await release.drive(key)
    status = release.status_of(key)
    assert derived_reason(status) == "Completed"
    assert status.progress == "26/26"
    assert max(release.services.begun.values()) == 1
    assert max(release.services.published.values()) == 1


@pytest.mark.parametrize("gpu", ["shared", "separate"])
async def test_with_samples_of_every_policy_too_whoever_holds_the_accelerator(release, run_object, gpu):
    prompts = {"prompts": {"dataset": "prompts.jsonl", "from": 24, "count": 8}, "initial": True}
    key = release.apply(run_object(gpu=gpu, evaluation=prompts))
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Completed"
    assert max(release.services.begun.values()) == 1


async def test_a_gate_that_is_crossed_ends_the_run_early_with_its_best_round(release, run_object):
    release.services.measures = {
        f"rounds/{number:02d}/evaluate-heldout": {"accuracy": accuracy, "n": 64.0}
        for number, accuracy in enumerate((0.6, 0.8, 0.5, 0.9))
    }
    gates = {"gates": {"maxAccuracyDrop": "0.1", "onBreach": "stop"}}
    key = release.apply(run_object(evaluation=gates))
    await release.drive(key)
    status = release.status_of(key)
    assert derived_reason(status) == "GateBreached"
    assert status.best is not None
    assert status.best.round == 1
    assert "GateCrossed" in release.recorded.reasons
    notes = [note for _, reason, note in release.recorded.events if reason == "RoundFinished"]
    assert notes[1] == "round 1 is finished, with an accuracy of 80.0% of 64 pairs"


async def test_rounds_that_are_added_on_the_way_are_done_too(release, run_object):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).round == 2)
    rounds = [*run_object()["spec"]["rounds"], {"prompts": {"dataset": "more.jsonl", "count": 8}}]
    release.api.edit(SELFIE_RUN, key.name, key.namespace, rounds=rounds)
    release.told.catch_up()
    await release.drive(key)
    status = release.status_of(key)
    assert derived_reason(status) == "Completed"
    assert status.observed_generation == 2
    [work] = [work for (_, path, _), work in release.services.works.items() if path == "rounds/04/prepare"]
    added = work.call.run.spec.rounds[3].prompts.dataset
    assert added == "file:///usr/share/selfie/examples/more.jsonl"
    [path] = [path for path in release.files if path.endswith("/run.yaml")]
    assert len(read_run(release.store(path.removesuffix("/run.yaml"))).spec.rounds) == 4


async def test_what_reads_a_runs_root_finds_who_it_is_and_what_it_does(release, run_object):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).stage == "seed")
    [path] = [path for path in release.files if path.endswith("/run.json")]
    root = path.removesuffix("/run.json")
    run = release.run(key)
    assert json.loads(release.files[path]) == {"uid": uid_of(run)}
    assert root.endswith(run_path(key.namespace, key.name, uid_of(run)))
    kept = read_run(release.store(root))
    assert kept.metadata.name == "toy"
    assert kept.spec.seed is not None
    assert kept.spec.seed.dataset == "file:///usr/share/selfie/examples/seed.jsonl"


async def test_a_run_takes_over_what_another_has_made(release, run_object):
    first = release.apply(run_object(name="first"))
    await release.drive(first)
    release.places.clear()
    root = f"s3://bucket/runs/{run_path(first.namespace, 'first', uid_of(release.run(first)))}"
    second = release.apply(run_object(name="second", resumeFrom=root))
    await release.drive(second)
    assert derived_reason(release.status_of(second)) == "Completed"
    assert any(path == "adopt" for _, path, _ in release.services.begun)
