"""A store on the local file system."""

import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.local_files import link
from selfie.artifacts.store import Store, open_store
from selfie.errors import AlreadyExists, InvalidInput, NotFound, Unavailable


def test_what_is_written_is_read_again_and_can_be_replaced(store: Store) -> None:
    store.write("rounds/01/status.json", b"first")
    store.write("rounds/01/status.json", b"second")
    assert store.read("rounds/01/status.json") == b"second"
    assert store.exists("rounds/01/status.json")
    assert store.digest("rounds/01/status.json") == digest_bytes(b"second")


def test_what_was_never_written_is_not_found(store: Store) -> None:
    store.write("a/file", b"")
    for path in ("nothing", "a", "a/file/below"):
        assert not store.exists(path)
        with pytest.raises(NotFound, match=path):
            store.read(path)
        with pytest.raises(NotFound, match=path):
            store.digest(path)


def test_a_store_that_nobody_has_written_to_is_empty(store: Store) -> None:
    assert store.list("") == []
    assert store.list("rounds") == []
    assert not store.exists("run.yaml")
    store.delete("rounds")


def test_a_second_creation_fails_and_changes_nothing(store: Store) -> None:
    store.create("manifest.json", b"first")
    with pytest.raises(AlreadyExists, match=r"manifest\.json"):
        store.create("manifest.json", b"second")
    assert store.read("manifest.json") == b"first"


def test_of_many_creators_one_wins_and_its_content_is_whole(store: Store) -> None:
    contents = [bytes([number]) * 300_000 for number in range(8)]
    together = threading.Barrier(len(contents))

    def create(content: bytes) -> bytes | None:
        together.wait()
        try:
            store.create("manifest.json", content)
        except AlreadyExists:
            # It must be whole from the moment when it is there.
            assert store.read("manifest.json") in contents
            return None
        return content

    with ThreadPoolExecutor(len(contents)) as threads:
        winners = [content for content in threads.map(create, contents) if content is not None]
    assert winners == [store.read("manifest.json")]


def test_readers_of_a_file_that_is_being_replaced_never_see_a_part_of_it(store: Store) -> None:
    contents = (b"a" * 200_000, b"b" * 200_000)
    store.write("status.json", contents[0])

    def write() -> None:
        for number in range(40):
            store.write("status.json", contents[number % 2])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while writer.is_alive():
            assert store.read("status.json") in contents
    finally:
        writer.join()


def test_a_new_file_is_listed_at_once_also_by_a_store_opened_before(store: Store) -> None:
    other = open_store(store.uri)
    assert other.list("") == []
    store.write("rounds/01/a", b"")
    assert other.list("") == ["rounds/01/a"]
    store.write("rounds/01/b", b"")
    assert other.list("") == ["rounds/01/a", "rounds/01/b"]


def test_a_prefix_is_a_directory_and_not_the_beginning_of_a_name(store: Store) -> None:
    for path in ("rounds/1/a", "rounds/10/b", "rounds/1/c/d"):
        store.write(path, b"")
    assert store.list("rounds/1") == store.list("rounds/1/") == ["rounds/1/a", "rounds/1/c/d"]
    assert store.list("rounds/1/a") == ["rounds/1/a"]
    store.delete("rounds/1")
    assert store.list("") == ["rounds/10/b"]
    store.delete("rounds/10/b")
    store.delete("rounds/10/b")
    assert store.list("") == []


def test_sizes_are_those_of_what_is_listed(store: Store) -> None:
    for path in ("rounds/1/b", "rounds/1/a", "rounds/10/b"):
        store.write(path, path.encode())
    root = store.local_path("rounds/1")
    assert root is not None
    (root / ".selfie-0123").write_bytes(b"left behind by a crash")
    assert store.sizes("rounds/1") == {"rounds/1/a": 10, "rounds/1/b": 10}
    assert store.sizes("rounds/10/b") == {"rounds/10/b": 11}
    assert store.sizes("nothing") == {}
    assert list(store.sizes("")) == store.list("")


def test_files_half_written_are_never_listed(store: Store) -> None:
    store.write("a/file", b"")
    root = store.local_path("a")
    assert root is not None
    (root / ".selfie-0123").write_bytes(b"left behind by a crash")
    assert store.list("") == ["a/file"]
    assert [path.name for path in root.iterdir() if path.name != ".selfie-0123"] == ["file"]


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../secret", "a/../../b", "a/./b", "a//b", "a/", "a\\b", "a\nb", "*", "a/.selfie-x"],
)
def test_a_path_that_could_lead_elsewhere_is_refused(store: Store, path: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"")
    for act in (
        lambda: store.read(path),
        lambda: store.write(path, b""),
        lambda: store.create(path, b""),
        lambda: store.exists(path),
        lambda: store.digest(path),
        lambda: store.upload(source, path),
        lambda: store.download(path, tmp_path / "target"),
        lambda: store.local_path(path),
    ):
        with pytest.raises(InvalidInput, match="relative path"):
            act()


@pytest.mark.parametrize("prefix", ["", "/", "..", "rounds/../.."])
def test_nothing_outside_and_never_everything_is_deleted(store: Store, prefix: str) -> None:
    store.write("kept", b"")
    with pytest.raises(InvalidInput):
        store.delete(prefix)
    assert store.exists("kept")


@pytest.mark.parametrize(
    "uri",
    [
        "/data/runs",
        "data",
        "file://data/runs",
        "file:///data/../etc",
        "ftp://host/x",
        "s3://",
        "s3://B!/x",
        "",
    ],
)
def test_a_uri_that_names_no_store_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_store(uri)
    assert refused.value.field == "uri"


def test_a_uri_may_be_quoted(tmp_path: Path) -> None:
    directory = tmp_path / "my runs"
    open_store(directory.as_uri()).write("a", b"1")
    assert (directory / "a").read_bytes() == b"1"


def test_a_root_that_cannot_be_made_is_unavailable_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = open_store((tmp_path / "file" / "root").as_uri())
    acts: list[Callable[[], None]] = [
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
        store.probe_exclusive_create,
    ]
    for act in acts:
        with pytest.raises(Unavailable, match="move it or choose another root") as failed:
            act()
        assert store.uri in str(failed.value)
        assert isinstance(failed.value.__cause__, OSError)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no directory here is read-only even to root")
def test_a_read_only_root_is_unavailable_with_a_remedy() -> None:
    store = open_store("file:///sys/kernel/selfie")
    with pytest.raises(Unavailable, match=r"give the user of this process the right|mount it writable"):
        store.create("a", b"")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no directory here has no room for another one")
def test_a_missing_root_that_cannot_be_made_is_unavailable_with_a_remedy() -> None:
    with pytest.raises(Unavailable, match="create the directory above it, or mount the volume"):
        open_store("file:///proc/selfie/run").write("a", b"")


def test_the_probe_accepts_a_local_directory_and_leaves_nothing(store: Store) -> None:
    store.probe_exclusive_create()
    root = store.local_path("x")
    assert root is not None
    assert list(root.parent.iterdir()) == []


def test_an_uploaded_file_is_linked_and_read_only(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"numbers")
    assert store.upload(source, "a/weights") == digest_bytes(b"numbers")
    stored = store.local_path("a/weights")
    assert stored is not None
    assert stored.samefile(source)
    assert stat.S_IMODE(stored.stat().st_mode) == 0o444


def test_an_uploaded_file_that_is_to_stay_its_owners_is_copied(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"numbers")
    mode = source.stat().st_mode
    store.upload(source, "weights", keep_source=True)
    source.write_bytes(b"others")
    assert store.read("weights") == b"numbers"
    assert source.stat().st_mode == mode


def test_a_link_is_stored_as_the_file_behind_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"numbers")
    (tmp_path / "weights").symlink_to(tmp_path / "blob")
    store.upload(tmp_path / "weights", "weights")
    stored = store.local_path("weights")
    assert stored is not None
    assert not stored.is_symlink()
    assert stored.read_bytes() == b"numbers"


def test_a_file_may_be_uploaded_onto_itself(store: Store) -> None:
    store.write("a/file", b"numbers")
    stored = store.local_path("a/file")
    assert stored is not None
    assert store.upload(stored, "a/file") == digest_bytes(b"numbers")
    assert [path.name for path in stored.parent.iterdir()] == ["file"]


def test_replacing_a_file_leaves_what_was_downloaded_before_as_it_was(store: Store, tmp_path: Path) -> None:
    store.write("file", b"old")
    assert store.download("file", tmp_path / "target") == digest_bytes(b"old")
    store.write("file", b"new")
    assert (tmp_path / "target").read_bytes() == b"old"


def test_what_is_missing_on_either_side_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        store.upload(tmp_path / "absent", "file")
    with pytest.raises(NotFound, match="never-written"):
        store.download("never-written", tmp_path / "target")
    store.write("file", b"")
    with pytest.raises(NotFound, match="no-directory"):
        store.download("file", tmp_path / "no-directory" / "target")
    assert not (tmp_path / "target").exists()


def test_a_file_is_copied_to_where_it_cannot_be_linked(store: Store) -> None:
    elsewhere = Path("/dev/shm")  # noqa: S108  the one other file system that most machines have
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == Path(__file__).stat().st_dev:
        pytest.skip("no second file system on this machine")
    store.write("file", b"numbers")
    target = elsewhere / f"selfie-test-{os.getpid()}"
    try:
        assert store.download("file", target) == digest_bytes(b"numbers")
        assert target.read_bytes() == b"numbers"
        assert store.upload(target, "again") == digest_bytes(b"numbers")
        assert store.read("again") == b"numbers"
    finally:
        target.unlink(missing_ok=True)


def test_a_link_whose_answer_a_network_disk_lost_counts_as_made(tmp_path: Path) -> None:
    mine, other, name = tmp_path / "mine", tmp_path / "other", tmp_path / "name"
    mine.write_bytes(b"mine")
    other.write_bytes(b"other")
    assert link(mine, name)
    assert link(mine, name)
    with pytest.raises(FileExistsError):
        link(other, name)
