"""What this machine has."""

from pathlib import Path

from selfie.local.planning.machine import free_bytes, memory_bytes, this_machine

TOTAL = "MemTotal:       16384000 kB\nMemFree:        1000 kB\n"


def test_memory_is_that_of_the_machine_where_nothing_limits_it(tmp_path):
    memory, unlimited = tmp_path / "meminfo", tmp_path / "memory.max"
    memory.write_text(TOTAL)
    unlimited.write_text("max\n")
    assert memory_bytes(memory, (unlimited, tmp_path / "none")) == 16_384_000 * 1024


def test_memory_is_that_of_the_container_where_it_is_limited(tmp_path):
    memory, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    memory.write_text(TOTAL)
    limit.write_text("8000000000\n")
    assert memory_bytes(memory, (limit,)) == 8_000_000_000


def test_room_is_that_of_the_disk_on_which_the_artifacts_will_be(tmp_path: Path):
    assert free_bytes((tmp_path / "not" / "made yet").as_uri()) == free_bytes(tmp_path.as_uri())


def test_an_object_store_has_no_room_to_be_told():
    assert free_bytes("s3://bucket/runs") is None


def test_this_machine_has_something_of_everything(tmp_path):
    found = this_machine(tmp_path.as_uri())
    assert found.cores >= 1
    assert found.memory > 1e8
    assert found.disk is not None
