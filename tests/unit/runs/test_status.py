"""What the status tells: people, `kubectl wait`, and the planner itself after a restart."""

from datetime import UTC, datetime

import pytest

from selfie.runs.conditions import MAX_MESSAGE, condition_of, new_condition, shortened, with_condition
from selfie.runs.method_fields import Round
from selfie.runs.observed import ManifestSummary, WorkObserved
from selfie.runs.sources import PromptSlice
from selfie.runs.status import RunStatus, derived_reason, object_of_status, status_from_object
from selfie.runs.steps import Step
from selfie.runs.timing import eta_seconds

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_run_that_nobody_has_looked_at_is_pending():
    assert derived_reason(status_from_object(None)) == "Pending"


def test_all_conditions_are_set_at_the_first_look(make_world):
    status = make_world().look().status
    kinds = ["Succeeded", "Complete", "Failed", "Suspended", "Stalled", "Reconciling", "ArtifactStoreReady"]
    assert [entry.type for entry in status.conditions] == kinds
    assert all(entry.reason and entry.observed_generation == 1 for entry in status.conditions)
    assert condition_of(status.conditions, "Succeeded").status == "Unknown"


def test_a_transition_time_moves_only_with_the_status():
    first = new_condition("Stalled", "False", "NotStalled", message="", generation=1, now=NOW)
    later = NOW.replace(hour=5)
    same = new_condition("Stalled", "False", "Other", message="new", generation=2, now=later)
    other = new_condition("Stalled", "True", "Other", message="", generation=2, now=later)
    assert with_condition([first], same)[0].last_transition_time == NOW
    assert with_condition([first], same)[0].message == "new"
    assert with_condition([first], other)[0].last_transition_time == later


def test_a_long_message_keeps_its_end():
    text = shortened("x" * MAX_MESSAGE + "the last line")
    assert len(text) == MAX_MESSAGE
    assert text.endswith("the last line")


def test_a_newer_versions_status_is_read_without_what_is_unknown():
    assert status_from_object({"round": 2, "shape": "new", "best": None}).round == 2


def test_plain_data_is_camel_case_with_times_as_text():
    data = object_of_status(RunStatus(start_time=NOW, stage_start_time=NOW, eta_seconds=3))
    assert data["stageStartTime"] == "2026-01-01T00:00:00Z"
    assert data["etaSeconds"] == 3
    assert "completionTime" not in data


def test_a_status_tells_where_the_run_is(make_world):
    world = make_world().run(until=lambda w: ("rounds/02/score", 1) in w.started)
    status = world.status
    assert (status.round, status.stage, status.step) == (2, "score", "rounds/02/score")
    assert status.progress == "18/35"
    assert status.attempt == 1
    assert derived_reason(status) == "Scoring"


def test_progress_within_a_step_is_written_every_half_minute(make_world, later):
    world = make_world().run(until=lambda w: ("rounds/01/train", 1) in w.started)
    world.works["rounds/01/train", 1].total = 1000
    world.reconcile()
    written = []
    for _ in range(90):
        world.tick()
        world.reconcile()
        written.append(world.status.fraction)
    assert len(set(written)) == 4
    assert world.status.fraction == pytest.approx((11 + 0.09) / 35, abs=0.001)


def test_each_round_is_told_by_its_own_measurements(make_world):
    measures = {
        "rounds/01/filter": {"noisy_share": 0.1},
        "rounds/01/train": {"loss_last": 0.68, "noisy_share": 0.05, "z_ones": 3},
        "rounds/01/evaluate-heldout": {
            "accuracy": 0.6,
            "accuracy_low": 0.5,
            "accuracy_high": 0.7,
            "accuracy_mean": 0.65,
            "n": 64,
        },
        "rounds/01/evaluate-measures": {
            "mean_tokens": 52.5,
            "divergence": 0.03,
            "finished_share": 0.9,
            "duplicate_share": 0,
            "empty_share": 0,
        },
    }
    world = make_world(measures=measures).run()
    told = world.status.rounds[1].model_dump(by_alias=True, exclude={"checkpoint"})
    assert told == {
        "round": 1,
        "policyRound": 0,
        "counts": {"kept": 7, "noisy": 1},
        "noisyShare": 0.1,
        "loss": 0.68,
        "onlineNoisyShare": 0.05,
        "onlineNoisyPairs": 3,
        "accuracy": {"value": 0.6, "low": 0.5, "high": 0.7, "mean": 0.65, "n": 64},
        "meanLength": 52.5,
        "divergence": 0.03,
        "finishedShare": 0.9,
        "duplicateShare": 0.0,
        "emptyShare": 0.0,
        "breaches": (),
    }
    checkpoint = world.status.rounds[1].checkpoint
    assert checkpoint.step == "rounds/01/publish"
    assert checkpoint.digest == world.manifests["rounds/01/publish"].digests["checkpoint"]


def test_only_the_newest_twenty_rounds_are_told(make_world, changed, three_rounds):
    many = tuple(Round(prompts=PromptSlice(dataset="a.jsonl", from_=number)) for number in range(22))
    world = make_world(changed(three_rounds, rounds=many)).run()
    assert [entry.round for entry in world.status.rounds] == list(range(3, 23))
    assert len(str(object_of_status(world.status))) < 32 * 1024


def test_what_is_left_is_estimated_from_what_was_done():
    manifests = {
        "prepare": ManifestSummary("a", seconds=10),
        "rounds/00/serve": ManifestSummary("b", seconds=2),
        "rounds/01/serve": ManifestSummary("c", seconds=4),
        "rounds/01/train": ManifestSummary("d", seconds=float("nan")),
    }
    rest = [Step(2, "serve"), Step(2, "train")]
    average = (10 + 2 + 4) / 3
    assert eta_seconds(rest, manifests, None) == round(3 + average)
    work = WorkObserved(Step(2, "serve"), 1, "running", eta_s=100.0)
    assert eta_seconds(rest, manifests, work) == round(100 + average)
    assert eta_seconds(rest, {}, work) is None


def test_a_store_out_of_reach_is_told_beside_what_the_user_asked_for(make_world, changed, three_rounds):
    world = make_world(changed(three_rounds, suspend=True))
    world.store = type(world.store)(
        ready=False, reason="ExclusiveCreateUnsupported", message="use another store"
    )
    status = world.look().status
    assert derived_reason(status) == "Suspended"
    store = condition_of(status.conditions, "ArtifactStoreReady")
    assert (store.status, store.reason, store.message) == (
        "False",
        "ExclusiveCreateUnsupported",
        "use another store",
    )


def test_a_manifest_that_lacks_its_weights_ends_the_run_with_what_is_missing(make_world):
    world = make_world().run(until=lambda w: "prepare" in w.manifests)
    world.manifests["prepare"] = ManifestSummary("a" * 64)
    status = world.run().status
    assert derived_reason(status) == "InputsIncomplete"
    assert "policy (model of prepare)" in status.conditions[0].message
