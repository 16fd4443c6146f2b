"""Checkpoints: one digest, and a cache that never holds half of one."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.manifests import FileEntry
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import (
    add_directory,
    directory_digest,
    pull,
    pull_into,
    verified_digest,
    weights_digest,
)
from selfie.errors import DataCorrupted, InvalidInput, NotFound, Unavailable

FILES = {"config.json": b"{}", "model.safetensors": b"\x00" * 5000, "parts/extra.bin": b"more"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoint"
    for name, data in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


@pytest.fixture
def entries(store: Store, checkpoint: Path) -> tuple[FileEntry, ...]:
    return add_directory(store, checkpoint, group="checkpoint", path="rounds/01/publish/a1/checkpoint")


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_a_directory_is_stored_file_by_file(store: Store, entries: tuple[FileEntry, ...]) -> None:
    assert [entry.name for entry in entries] == sorted(FILES)
    assert {entry.name: store.read(entry.path) for entry in entries} == FILES
    assert {entry.group for entry in entries} == {"checkpoint"}


def test_the_digest_is_that_of_names_and_contents_alone(
    store: Store, entries: tuple[FileEntry, ...], checkpoint: Path
) -> None:
    lines = sorted(f"{name} {digest_bytes(data).sha256}\n" for name, data in FILES.items())
    digest = digest_bytes("".join(lines).encode()).sha256
    elsewhere = add_directory(store, checkpoint, group="other", path="elsewhere")
    assert weights_digest(entries) == weights_digest(reversed(elsewhere)) == digest
    assert weights_digest(entries[1:]) != digest


def test_no_file_or_two_of_one_name_have_no_digest(entries: tuple[FileEntry, ...]) -> None:
    for wrong in ((), (*entries, entries[0])):
        with pytest.raises(InvalidInput):
            weights_digest(wrong)


def test_pulled_weights_are_the_files_linked_and_read_only(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    directory = pull(store, entries, tmp_path / "cache")
    assert directory == tmp_path / "cache" / weights_digest(entries)
    assert contents(directory) == FILES
    stored = store.local_path(entries[0].path)
    assert stored is not None
    assert (directory / entries[0].name).samefile(stored)
    assert not (directory / "model.safetensors").stat().st_mode & 0o222


def test_weights_that_are_there_are_not_fetched_again(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    directory = pull(store, entries, tmp_path / "cache")
    store.delete("rounds")
    assert pull(store, entries, tmp_path / "cache") == directory
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [directory.name]


def test_many_may_pull_the_same_weights_at_once(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    together = threading.Barrier(6)

    def pull_together(_: int) -> dict[str, bytes]:
        together.wait()
        return contents(pull(store, entries, tmp_path / "cache"))

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(pull_together, range(6))) == [FILES] * 6
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [weights_digest(entries)]


@pytest.mark.parametrize("damage", [b"\x01" * 5000, b"\x00" * 4999, None])
def test_damaged_weights_are_named_and_never_get_into_the_cache(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path, damage: bytes | None
) -> None:
    path = entries[1].path
    if damage is None:
        store.delete(path)
    else:
        store.write(path, damage)
    with pytest.raises(DataCorrupted, match=path):
        pull(store, entries, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_lost_a_file_says_what_to_delete(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    directory = pull(store, entries, tmp_path / "cache")
    (directory / "config.json").unlink()
    with pytest.raises(DataCorrupted, match=f"delete {directory}"):
        pull(store, entries, tmp_path / "cache")


def test_a_cache_that_cannot_be_made_is_unavailable(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="cache directory"):
        pull(store, entries, tmp_path / "file" / "cache")


def test_what_is_no_checkpoint_is_refused(store: Store, tmp_path: Path, checkpoint: Path) -> None:
    def add(directory: Path) -> None:
        add_directory(store, directory, group="checkpoint", path="a")

    with pytest.raises(NotFound, match="absent"):
        add(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no files"):
        add(tmp_path / "empty")
    (checkpoint / "odd name").write_bytes(b"")
    with pytest.raises(InvalidInput, match="odd name"):
        add(checkpoint)
    (checkpoint / "odd name").unlink()
    (checkpoint / "linked").symlink_to(tmp_path / "empty")
    with pytest.raises(InvalidInput, match="linked"):
        add(checkpoint)
    assert store.list("") == []


def test_a_directory_that_stays_its_owners_is_copied(store: Store, checkpoint: Path) -> None:
    add: Callable[..., tuple[FileEntry, ...]] = add_directory
    entries = add(store, checkpoint, group="model", path="prepare/a1/model", keep_source=True)
    (checkpoint / "config.json").write_bytes(b"changed")
    assert store.read(entries[0].path) == b"{}"


def test_a_directory_has_the_digest_that_its_manifest_would_have(tmp_path):
    directory = tmp_path / "checkpoint"
    (directory / "nested").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "nested" / "weights.bin").write_bytes(b"1234")
    expected = directory_digest(directory)
    entries = add_directory(
        open_store(f"file://{tmp_path}/store"), directory, group="checkpoint", path="a1", keep_source=True
    )
    assert expected == weights_digest(entries)
    assert verified_digest(directory, expected, verify=True) == expected
    (directory / "config.json").write_text("{ }")
    with pytest.raises(DataCorrupted, match="fetch the weights again"):
        verified_digest(directory, expected, verify=True)
    assert verified_digest(directory, expected, verify=False) == expected


@pytest.mark.parametrize("there", [False, True], ids=["no directory", "an empty directory"])
def test_a_checkpoint_is_put_where_it_was_asked_for(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path, there: bool
) -> None:
    target = tmp_path / "some" / "where"
    if there:
        target.mkdir(parents=True)
    assert pull_into(store, entries, target) == weights_digest(entries)
    assert contents(target) == FILES
    assert list(target.parent.iterdir()) == [target]


def test_a_checkpoint_that_is_there_is_verified_and_stays(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    pull_into(store, entries, tmp_path / "target")
    before = (tmp_path / "target").stat().st_ino
    store.delete("rounds/01/publish")
    assert pull_into(store, entries, tmp_path / "target") == weights_digest(entries)
    assert (tmp_path / "target").stat().st_ino == before


@pytest.mark.parametrize("name", ["config.json", "notes.txt"])
def test_a_directory_with_anything_else_in_it_is_refused_and_left_as_it_is(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path, name: str
) -> None:
    target = tmp_path / "target"
    pull_into(store, entries, target)
    (target / name).unlink(missing_ok=True)
    (target / name).write_bytes(b"somebody's own")
    before = contents(target)
    with pytest.raises(InvalidInput, match="empty it, or give another directory"):
        pull_into(store, entries, target)
    assert contents(target) == before


def test_a_file_is_no_place_for_a_checkpoint(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInput, match="is not a directory"):
        pull_into(store, entries, tmp_path / "file")


def test_of_a_checkpoint_that_is_damaged_nothing_arrives(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    store.write(entries[-1].path, b"other")
    with pytest.raises(DataCorrupted, match=entries[-1].path):
        pull_into(store, entries, tmp_path / "some" / "where")
    assert list((tmp_path / "some").iterdir()) == []


def test_of_many_who_pull_into_one_directory_all_get_the_checkpoint(
    store: Store, entries: tuple[FileEntry, ...], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(8) as threads:
        digests = list(threads.map(lambda _: pull_into(store, entries, tmp_path / "target"), range(8)))
    assert set(digests) == {weights_digest(entries)}
    assert contents(tmp_path / "target") == FILES
