from datetime import UTC, datetime
from pathlib import Path

import pytest

from selfie.artifacts.manifests import verify
from selfie.artifacts.retirements import Retirement, read_retirement, record_retirement
from selfie.artifacts.shards import read_shard
from selfie.artifacts.weights import pull
from selfie.errors import DataCorrupted, FailedPrecondition

WEIGHTS = "rounds/00/seed/a1/checkpoint-w/model.safetensors"
CONFIG = "rounds/00/publish/a1/checkpoint-w/config.json"


def retirement(*files: str, reason: str = "round 0 is not the best") -> Retirement:
    return Retirement(
        step="rounds/00/publish",
        group="checkpoint",
        reason=reason,
        retired_at=datetime(2026, 3, 1, tzinfo=UTC),
        bytes=10,
        files=files,
    )


@pytest.fixture
def retired(made):
    """A run whose only checkpoint is recorded as gone, and is gone."""
    made.whole(0.6)
    record_retirement(made.store, retirement(WEIGHTS, CONFIG))
    for path in (WEIGHTS, CONFIG):
        made.store.delete(path)
    return made


def test_the_first_record_stays(made):
    record_retirement(made.store, retirement(WEIGHTS))
    record_retirement(made.store, retirement(CONFIG, reason="another"))
    assert read_retirement(made.store, "rounds/00/publish") == retirement(WEIGHTS)


def test_a_step_without_a_record_has_none(made):
    assert read_retirement(made.store, "rounds/00/publish") is None


def test_a_record_that_cannot_be_read_is_named(made):
    made.store.write("rounds/00/publish/retired.json", b"{")
    with pytest.raises(DataCorrupted, match=r"rounds/00/publish/retired\.json"):
        read_retirement(made.store, "rounds/00/publish")


def readers(made, tmp_path: Path):
    manifest = made.manifest("rounds/00/publish")[0]
    entries = manifest.group("checkpoint")
    return {
        "pull": lambda: pull(made.store, entries, tmp_path / "cache"),
        "verify": lambda: verify(made.store, manifest),
        "read a shard": lambda: read_shard(made.store, entries[0]),
    }


@pytest.mark.parametrize("reader", ["pull", "verify", "read a shard"])
def test_whoever_misses_a_file_that_retention_removed_is_told_so_and_what_to_do(retired, tmp_path, reader):
    with pytest.raises(FailedPrecondition, match="removed by retention: round 0 is not the best") as caught:
        readers(retired, tmp_path)[reader]()
    assert caught.value.reason == "CheckpointRetired"
    assert "spec.retention.checkpoints" in str(caught.value)


@pytest.mark.parametrize("reader", ["pull", "verify", "read a shard"])
def test_a_file_that_is_missing_for_another_reason_is_damage(made, tmp_path, reader):
    made.whole(0.6)
    record_retirement(made.store, retirement(CONFIG))
    made.store.delete(WEIGHTS)
    with pytest.raises(DataCorrupted, match="is named by a manifest but missing"):
        readers(made, tmp_path)[reader]()
