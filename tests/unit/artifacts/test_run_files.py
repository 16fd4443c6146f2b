"""What is kept of a run beside its steps, and a store that is a part of another."""

import pytest

from selfie.artifacts.published import PublishedSteps
from selfie.artifacts.run_files import identify, read_run, read_status, write_run, write_status
from selfie.artifacts.store import open_store
from selfie.errors import InvalidInput, NotFound
from selfie.runs.load import parse_run
from selfie.runs.status import RunStatus

RUN = parse_run(
    """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: "builtin://toy"}
  seed: {dataset: seed.jsonl}
  rounds: [{prompts: {dataset: prompts.jsonl}}]
"""
)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path.as_uri())


def test_a_root_belongs_to_the_first_that_says_so(store):
    assert identify(store, "first") == "first"
    assert identify(store, "second") == "first"
    assert identify(store, "first") == "first"


def test_run_and_status_are_read_back_as_they_were_written(store):
    write_run(store, RUN)
    write_status(store, RunStatus(round=3))
    assert read_run(store) == RUN
    assert read_status(store) == RunStatus(round=3)


def test_a_status_that_was_never_written_is_empty_and_a_run_is_not_there(store):
    assert read_status(store) == RunStatus()
    with pytest.raises(NotFound):
        read_run(store)


def test_a_store_below_another_is_the_same_files_under_shorter_names(store):
    below = store.below("team/toy-1")
    below.write("run.yaml", b"x")
    assert store.read("team/toy-1/run.yaml") == b"x"
    assert below.uri == f"{store.uri}/team/toy-1"
    assert below.list("") == ["run.yaml"]
    with pytest.raises(InvalidInput):
        store.below("../elsewhere")


def test_what_is_published_is_told_up_to_the_first_step_that_is_not(made):
    made.prepare(rounds=1)
    made.train(0)
    made.publish_policy(0)
    steps = PublishedSteps(made.store)
    found = steps.look(RUN.spec)
    assert list(found) == ["prepare", "rounds/00/seed", "rounds/00/publish"]
    assert found["prepare"].digests["model"] == made.digest("prepare", "model")


def test_a_published_step_is_read_once(made):
    made.prepare(rounds=1)
    steps = PublishedSteps(made.store)
    before = steps.look(RUN.spec)
    made.store.write("prepare/manifest.json", b"{")
    assert steps.look(RUN.spec) == before
