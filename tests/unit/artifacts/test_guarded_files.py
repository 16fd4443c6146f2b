"""A store that is guarded changes only while it may."""

from collections.abc import Callable
from pathlib import Path

import pytest

from selfie.artifacts.store import Store, open_store
from selfie.errors import FailedPrecondition


def refuses() -> None:
    raise FailedPrecondition("NotNow", "not now")


def uploads(store: Store) -> None:
    source = Path(store.uri.removeprefix("file://")).parent / "source"
    source.write_bytes(b"new")
    store.upload(source, "other", keep_source=True)


CHANGES: dict[str, Callable[[Store], object]] = {
    "write": lambda store: store.write("known", b"new"),
    "create": lambda store: store.create("other", b"new"),
    "delete": lambda store: store.delete("known"),
    "upload": uploads,
    "probe": Store.probe_exclusive_create,
    "write below": lambda store: store.below("folder").write("other", b"new"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_changes_that_the_guard_refuses(tmp_path: Path, change: Callable[[Store], object]):
    store = open_store((tmp_path / "store").as_uri())
    store.write("known", b"old")
    with pytest.raises(FailedPrecondition, match="not now"):
        change(store.guarded(refuses))
    assert {path: store.read(path) for path in store.list("")} == {"known": b"old"}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_everything_else_changes(tmp_path: Path, change: Callable[[Store], object]):
    (tmp_path / "store").mkdir()
    store = open_store((tmp_path / "store").as_uri())
    store.write("known", b"old")
    asked: list[None] = []
    change(store.guarded(lambda: asked.append(None)))
    assert asked


def test_what_only_reads_asks_nobody(tmp_path: Path):
    store = open_store((tmp_path / "store").as_uri())
    store.write("known", b"old")
    guarded = store.guarded(refuses)
    assert guarded.read("known") == b"old"
    assert guarded.list("") == ["known"]
    assert guarded.sizes("") == {"known": 3}
    assert guarded.exists("known")
    assert guarded.digest("known") == store.digest("known")
    assert guarded.local_path("known") == store.local_path("known")
    guarded.download("known", tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == b"old"
