from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.manifests import FileEntry, Manifest
from selfie.artifacts.store import Store, open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a directory that does not exist yet."""
    return open_store((tmp_path / "runs" / "one").as_uri())


@pytest.fixture
def make_manifest() -> Callable[..., Manifest]:
    """Makes a manifest of `rounds/01/generate`; any field may be given."""

    def make(**fields: Any) -> Manifest:
        known: dict[str, Any] = {
            "run_uid": "uid-1",
            "round": 1,
            "step": "rounds/01/generate",
            "attempt": 1,
            "writer": "w1",
            "started_at": NOON,
            "finished_at": NOON,
        }
        return Manifest(**{**known, **fields})

    return make


@pytest.fixture
def add_file(store: Store) -> Callable[..., FileEntry]:
    """Writes a file into the store and returns its entry."""

    def add(path: str, data: bytes, *, group: str = "files") -> FileEntry:
        store.write(path, data)
        digest = store.digest(path)
        name = path.rpartition("/")[2]
        return FileEntry(group=group, name=name, path=path, sha256=digest.sha256, bytes=digest.bytes)

    return add
