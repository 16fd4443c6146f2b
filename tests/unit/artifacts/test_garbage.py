import json
from datetime import timedelta

import pytest

from selfie.artifacts.garbage import LEASE, delete, find_garbage
from selfie.artifacts.inventory import take_inventory
from selfie.errors import DataCorrupted

OPERATION = "operation.json"


@pytest.fixture
def lost(made):
    """A run whose training has published in its second attempt, with all that the first has left."""
    made.prepare(rounds=1)
    for name in ("checkpoint-w/model.safetensors", "work-1/checkpoint-4/optimizer.pt", "log.txt"):
        made.store.write(f"rounds/00/seed/a1/{name}", b"left over")
    made.train(0, attempt=2)
    return made


def garbage_of(made, *, after=timedelta()):
    found = find_garbage(made.store, take_inventory(made.store), made.now + after)
    return {file.path: file for file in found}


def write_json(made, path, **fields):
    made.store.write(path, json.dumps(fields).encode())


def test_a_run_as_it_was_made_has_no_garbage(made):
    made.whole(0.6, 0.7)
    assert garbage_of(made) == {}


def test_everything_of_an_attempt_that_lost_goes_and_of_the_one_that_won_nothing(lost):
    lost.store.write("rounds/00/seed/a2/job.json", b"{}")
    found = garbage_of(lost)
    assert set(found) == {
        "rounds/00/seed/a1/checkpoint-w/model.safetensors",
        "rounds/00/seed/a1/work-1/checkpoint-4/optimizer.pt",
        "rounds/00/seed/a1/log.txt",
    }
    assert {(file.bytes, file.reason) for file in found.values()} == {(9, "attempt 2 published")}


def test_what_other_writers_have_left_in_the_attempt_that_won_goes_and_its_records_stay(made):
    made.whole(0.6)
    place = "rounds/00/evaluate-heldout/a1"
    for name in (
        "pairs-00000-x.parquet",
        "pairs-00000-x.parquet.json",
        "pairs-00000-w.parquet.json",
        "asked",
    ):
        made.store.write(f"{place}/{name}", b"{}")
    write_json(made, f"{place}/{OPERATION}", state="succeeded", heartbeatAt=made.now.isoformat())
    assert set(garbage_of(made)) == {f"{place}/pairs-00000-x.parquet", f"{place}/pairs-00000-x.parquet.json"}


def test_a_step_that_is_not_published_is_left_alone_however_old_it_is(made):
    made.whole(0.6)
    made.store.write("rounds/01/generate/a1/samples-00000-w.parquet", b"finished")
    write_json(made, f"rounds/01/generate/a1/{OPERATION}", state="failed", heartbeatAt=made.now.isoformat())
    made.store.write("rounds/01/generate/a2/samples-00000-w.parquet", b"finished")
    assert garbage_of(made, after=timedelta(days=365)) == {}


def test_an_operation_that_beats_is_left_alone_until_an_hour_after_its_last_beat(lost):
    write_json(lost, f"rounds/00/seed/a1/{OPERATION}", state="running", heartbeatAt=lost.now.isoformat())
    assert garbage_of(lost) == {}
    assert garbage_of(lost, after=LEASE - timedelta(seconds=1)) == {}
    assert len(garbage_of(lost, after=LEASE)) == 4


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_an_operation_that_has_ended_is_not_waited_for(lost, state):
    write_json(lost, f"rounds/00/seed/a1/{OPERATION}", state=state, heartbeatAt=lost.now.isoformat())
    assert len(garbage_of(lost)) == 4


@pytest.mark.parametrize(
    ("name", "field"), [("job.json", "changedAt"), ("progress.json", "updatedAt")], ids=["start", "progress"]
)
def test_a_program_that_has_started_or_gone_on_is_left_alone_for_an_hour(lost, name, field):
    write_json(lost, f"rounds/00/seed/a1/{name}", **{field: lost.now.isoformat()})
    assert garbage_of(lost) == {}
    assert len(garbage_of(lost, after=LEASE)) == 4


def test_a_program_that_has_left_an_error_is_not_waited_for(lost):
    write_json(lost, "rounds/00/seed/a1/job.json", changedAt=lost.now.isoformat(), state="running")
    write_json(lost, "rounds/00/seed/a1/error.json", error={})
    assert len(garbage_of(lost)) == 5


def test_an_attempt_whose_record_cannot_be_read_is_left_alone(lost):
    lost.store.write(f"rounds/00/seed/a1/{OPERATION}", b"{")
    assert garbage_of(lost, after=timedelta(days=365)) == {}


def test_files_of_a_lost_attempt_that_a_manifest_names_stay(made):
    made.prepare(rounds=1)
    shard = made.file("rounds/00/seed/a1/steps-00000-w.parquet", b"kept", group="steps")
    made.publish("rounds/00/seed", shard, attempt=2)
    made.store.write("rounds/00/seed/a1/other", b"goes")
    assert set(garbage_of(made)) == {"rounds/00/seed/a1/other"}


def test_nothing_goes_while_a_manifest_cannot_be_read(lost):
    lost.store.write("prepare/manifest.json", b"{")
    with pytest.raises(DataCorrupted, match="nothing is removed until it can be read"):
        garbage_of(lost)


def test_what_is_deleted_is_gone_and_nothing_else(lost):
    before = take_inventory(lost.store).sizes
    garbage = find_garbage(lost.store, take_inventory(lost.store), lost.now)
    delete(lost.store, garbage)
    assert set(take_inventory(lost.store).sizes) == set(before) - {file.path for file in garbage}
    assert find_garbage(lost.store, take_inventory(lost.store), lost.now) == ()
