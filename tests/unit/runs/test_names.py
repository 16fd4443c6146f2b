"""Names of a run's children on a cluster."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.runs.names import engine_name, frozen_name, job_name, run_at, run_mark, run_path, weights_label
from selfie.runs.steps import SERVICE_OF, Step

UID = "0a6f1f0e-6f0f-4d8e-9f6e-3a7b2c1d0e9f"
RUNS = st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
STEPS = st.builds(Step, st.integers(0, 100), st.sampled_from(sorted(SERVICE_OF)))


@given(RUNS, STEPS, st.integers(1, 10_000))
def test_a_jobs_name_is_a_host_name_and_a_labels_value_also_with_a_nodes_number(run, step, attempt):
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", job_name(run, UID, step, attempt) + "-63")


@given(RUNS, STEPS, STEPS, st.integers(1, 9), st.integers(1, 9))
def test_two_attempts_of_a_run_never_share_a_name(run, one, other, first, second):
    same = (one, first) == (other, second)
    assert (job_name(run, UID, one, first) == job_name(run, UID, other, second)) is same


def test_a_run_made_again_shares_no_name_with_the_first():
    step = Step(1, "train")
    assert job_name("toy", UID, step, 1) != job_name("toy", "another", step, 1)
    assert engine_name(UID) != engine_name("another")
    assert frozen_name("toy", UID) != frozen_name("toy", "another")


@given(RUNS)
def test_the_place_of_a_run_says_whose_it_is(run):
    assert run_at("s3://bucket/runs/" + run_path("team", run, UID)) == ("team", run, run_mark(UID))


@pytest.mark.parametrize(
    "uri", ["", "/", "file:///runs", "s3://bucket/team/toy", "s3://bucket/team/toy-1234"]
)
def test_a_place_that_is_no_runs_is_refused(uri):
    with pytest.raises(InvalidInput, match="run_uri"):
        run_at(uri)


def test_a_labels_value_changes_with_every_digest():
    one, two, three = (f"sha256:{digit * 64}" for digit in "abc")
    values = {weights_label(one), weights_label(two), weights_label(one, two), weights_label(one, three)}
    assert len(values) == 4
    assert all(len(value) <= 63 for value in values)
