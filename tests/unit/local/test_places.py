"""Where a run lies on this machine, what may change when it is opened again, and who holds it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import selfie
from selfie.artifacts.run_files import read_run
from selfie.artifacts.store import open_store
from selfie.errors import FailedPrecondition, InvalidInput, NotFound
from selfie.local.places import (
    artifacts_uri,
    directory_of,
    locked,
    open_run,
    with_absolute_sources,
)
from selfie.runs.conditions import Condition
from selfie.runs.load import dump_run, parse_run
from selfie.runs.status import RunStatus

COMPLETE = RunStatus(
    conditions=(
        Condition(
            type="Complete", status="True", reason="Completed", last_transition_time="2026-03-01T12:00:00Z"
        ),
    )
)


def test_a_run_opened_twice_is_the_same_run(run_of, artifacts):
    first, second = open_run(run_of(), artifacts), open_run(run_of(), artifacts)
    assert first.uid == second.uid
    assert first.uri == f"{artifacts}/toy"
    assert read_run(second.store) == run_of()


def test_two_runs_of_one_name_in_two_folders_are_two_runs(run_of, artifacts):
    assert open_run(run_of(), artifacts).uid != open_run(run_of(), f"{artifacts}-too").uid


def test_a_field_that_decides_the_result_cannot_change_and_is_named(run_of, artifacts):
    open_run(run_of(), artifacts)
    with pytest.raises(InvalidInput) as caught:
        open_run(run_of(beta="0.2"), artifacts)
    assert caught.value.field == "spec.training.beta"
    assert "--artifacts" in caught.value.remedy


def test_a_refused_change_leaves_the_run_as_it_was(run_of, artifacts):
    local = open_run(run_of(), artifacts)
    with pytest.raises(InvalidInput):
        open_run(run_of(beta="0.2"), artifacts)
    assert read_run(local.store) == run_of()


def test_rounds_may_be_added_and_operational_fields_changed(run_of, artifacts):
    uid = open_run(run_of(), artifacts).uid
    grown = open_run(run_of(rounds=3, retries=7), artifacts)
    assert grown.uid == uid
    assert len(read_run(grown.store).spec.rounds) == 3
    assert read_run(grown.store).spec.retries == 7


def test_rounds_cannot_be_added_to_a_run_that_has_ended(run_of, artifacts):
    open_run(run_of(), artifacts).write_status(COMPLETE)
    with pytest.raises(InvalidInput) as caught:
        open_run(run_of(rounds=2), artifacts)
    assert caught.value.field == "spec.rounds"


def test_rounds_cannot_be_taken_away(run_of, artifacts):
    open_run(run_of(rounds=2), artifacts)
    with pytest.raises(InvalidInput) as caught:
        open_run(run_of(rounds=1), artifacts)
    assert caught.value.field == "spec.rounds"


def test_a_status_is_read_back_as_it_was_written(run_of, artifacts):
    local = open_run(run_of(), artifacts)
    assert local.read_status() == RunStatus()
    local.write_status(COMPLETE)
    assert local.read_status() == COMPLETE
    assert local.read_status().is_terminal


def test_a_place_without_a_run_says_how_to_make_one(artifacts):
    with pytest.raises(NotFound, match="selfie run FILE"):
        read_run(open_store(f"{artifacts}/nothing"))


def test_processes_and_caches_lie_beside_the_artifacts_of_a_disk(run_of, artifacts, tmp_path):
    local = open_run(run_of(), artifacts)
    assert directory_of(local.store) == tmp_path / "runs" / "toy"
    assert local.scratch.is_relative_to(tmp_path / "runs" / "toy")


def test_relative_data_sets_and_models_lie_beside_the_file(run_of):
    run = run_of(model="models/own", reference="referenceModel: {uri: models/base}")
    spec = with_absolute_sources(run, Path("/somewhere")).spec
    assert spec.model.uri == "file:///somewhere/models/own"
    assert spec.reference_model.uri == "file:///somewhere/models/base"
    assert spec.seed.dataset == "file:///somewhere/data/seed.jsonl"
    assert spec.seed.heldout == "file:///somewhere/data/heldout.jsonl"
    assert spec.rounds[0].prompts.dataset == "file:///somewhere/data/prompts.jsonl"
    assert spec.evaluation.prompts.dataset == "s3://bucket/prompts.jsonl"


def test_what_has_a_scheme_is_absolute_already(run_of):
    assert with_absolute_sources(run_of(), Path("/somewhere")).spec.model.uri == "builtin://toy"


def test_a_folder_with_a_blank_in_its_name_makes_a_run_that_can_be_read_back(run_of):
    run = with_absolute_sources(run_of(), Path("/my files"))
    assert parse_run(dump_run(run)) == run


def test_artifacts_go_where_the_command_says_then_where_the_run_says_then_here(run_of, tmp_path):
    placed = run_of(reference="artifacts: {uri: s3://bucket/runs}")
    assert artifacts_uri(str(tmp_path), placed) == tmp_path.as_uri()
    assert artifacts_uri("gs://other/runs", placed) == "gs://other/runs"
    assert artifacts_uri(None, placed) == "s3://bucket/runs"
    assert artifacts_uri(None, run_of()) == Path("runs").resolve().as_uri()


def test_a_second_process_is_refused_and_told_who_is_at_work(run_of, artifacts):
    local = open_run(run_of(), artifacts)
    script = (
        "import sys; from selfie.artifacts.store import open_store; from pathlib import Path\n"
        "from selfie.local.places import locked\n"
        "store = open_store(sys.argv[1])\n"
        "with locked(Path(sys.argv[2]), store.uri): pass\n"
    )
    command = [sys.executable, "-c", script, local.uri, str(local.scratch)]
    environment = {"PYTHONPATH": str(Path(selfie.__file__).parents[1])}
    with locked(local.scratch, local.uri):
        refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert refused.returncode != 0
    assert f"process {os.getpid()} works on {local.uri}" in refused.stderr
    assert subprocess.run(command, check=False, env=environment).returncode == 0


def test_the_lock_is_free_again_after_an_error(run_of, artifacts):
    local = open_run(run_of(), artifacts)
    with pytest.raises(ZeroDivisionError), locked(local.scratch, local.uri):
        raise ZeroDivisionError
    with (
        locked(local.scratch, local.uri),
        pytest.raises(FailedPrecondition) as caught,
        locked(local.scratch, local.uri),
    ):
        pass
    assert caught.value.reason == "AlreadyRunning"
