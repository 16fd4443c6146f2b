"""Records of long work, and the names that lead to them."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfie.artifacts.operations import (
    OperationRecord,
    create_record,
    is_alive,
    operation_name,
    parse_operation_name,
    read_record,
    record_path,
    write_record,
)
from selfie.artifacts.store import Store
from selfie.errors import (
    AlreadyExists,
    DataCorrupted,
    FailedPrecondition,
    InvalidInput,
    SelfieError,
    Unavailable,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEP = "rounds/01/score"
RECORD = OperationRecord(
    request_id="r1",
    method="selfie.v1.ScoringService/ScoreDataset",
    request="AAEC",
    run_uid="uid-1",
    state="running",
    owner="w1",
    heartbeat_at=NOON,
    started_at=NOON,
)


def test_a_record_is_created_once_and_read_and_replaced(store: Store) -> None:
    assert read_record(store, STEP, 1) is None
    create_record(store, STEP, 1, RECORD)
    with pytest.raises(AlreadyExists):
        create_record(store, STEP, 1, RECORD.taken_over("w2", NOON))
    assert read_record(store, STEP, 1) == RECORD
    later = RECORD.beating(NOON + timedelta(seconds=5), (3, 8))
    write_record(store, STEP, 1, later)
    assert read_record(store, STEP, 1) == later
    assert (later.rows_done, later.rows_total) == (3, 8)
    assert record_path(STEP, 1) == "rounds/01/score/a1/operation.json"


def test_a_record_that_cannot_be_read_is_corrupted(store: Store) -> None:
    store.write(record_path(STEP, 1), b'{"state": "sleeping"}')
    with pytest.raises(DataCorrupted, match=r"a1/operation\.json"):
        read_record(store, STEP, 1)


def test_work_is_alive_while_it_runs_and_its_heart_has_beaten_within_the_lease() -> None:
    assert is_alive(RECORD, NOON + timedelta(seconds=30))
    assert not is_alive(RECORD, NOON + timedelta(seconds=31))
    assert is_alive(RECORD, NOON + timedelta(seconds=31), lease_s=60)
    assert not is_alive(RECORD.ended("succeeded", NOON, (8, 8), None), NOON)


@pytest.mark.parametrize(
    ("error", "code", "reason", "retryable"),
    [
        (Unavailable("down"), "UNAVAILABLE", "Unavailable", True),
        (FailedPrecondition("ParityBroken", "apart"), "FAILED_PRECONDITION", "ParityBroken", False),
        (SelfieError("KeyError('x')"), "INTERNAL", "Internal", False),
    ],
)
def test_an_end_keeps_the_error_and_a_new_owner_begins_without_it(
    error: SelfieError, code: str, reason: str, retryable: bool
) -> None:
    ended = RECORD.ended("failed", NOON, (3, 8), error)
    assert ended.state == "failed"
    assert ended.error is not None
    assert (ended.error.code, ended.error.reason, ended.error.message) == (code, reason, str(error))
    assert ended.error.retryable == retryable
    again = ended.taken_over("w2", NOON)
    assert (again.state, again.owner, again.error, again.rows_done) == ("running", "w2", None, 3)


def test_the_same_request_is_known_by_method_and_arguments() -> None:
    assert RECORD.same_request(RECORD.taken_over("w2", NOON))
    for other in (
        RECORD.model_copy(update={"request": "AAED"}),
        RECORD.model_copy(update={"method": "selfie.v1.FilteringService/FilterDataset"}),
    ):
        assert not RECORD.same_request(other)


@given(
    uri=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).map(lambda place: f"s3://{place}"),
    step=st.sampled_from(["prepare", STEP]),
    attempt=st.integers(1, 10_000),
)
def test_a_name_leads_back_to_run_step_and_attempt(uri: str, step: str, attempt: int) -> None:
    name = operation_name(uri, step, attempt)
    assert parse_operation_name(name) == (uri, step, attempt)
    assert name.removeprefix("operations/").replace("-", "").replace("_", "").isalnum()


def encoded(fields: object) -> str:
    data = json.dumps(fields, separators=(",", ":")).encode()
    return "operations/" + base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "operations/",
        "operations/!",
        "operations/A",
        "operations/AAAA",
        "jobs/" + operation_name("file:///r", "prepare", 1).removeprefix("operations/"),
        operation_name("file:///r", "prepare", 1) + "=",
        operation_name("file:///r", "prepare", 1) + "/x",
        encoded({"run": "file:///r"}),
        encoded(["file:///r", "prepare"]),
        encoded(["file:///r", "prepare", "1"]),
        encoded(["file:///r", "prepare", True]),
        encoded(["file:///r", "prepare", 0]),
        encoded(["file:///r", "prepare", 10_001]),
        encoded(["file:///r", "../prepare", 1]),
        encoded(["not a uri", "prepare", 1]),
        encoded([None, "prepare", 1]),
        # Another spelling of a name that would be right.
        "operations/" + base64.urlsafe_b64encode(b'["file:///r", "prepare", 1]').decode().rstrip("="),
    ],
)
def test_a_name_that_no_operation_has_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_operation_name(name)
    assert refused.value.field == "name"
