"""Bytes under one root, the same on a disk and in a bucket.

`open_store` chooses by the URI's scheme: `file://` for one machine or one volume, `s3://` and
`gs://` for production. What a run relies on is exclusive creation: of two that create the same
path exactly one succeeds, and what it wrote is there whole.
"""

import importlib.util
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import fsspec

from selfie.artifacts.digests import FileDigest
from selfie.artifacts.failures import translated
from selfie.artifacts.guarded_files import GuardedFiles
from selfie.artifacts.local_files import LocalFiles
from selfie.artifacts.object_files import ObjectFiles
from selfie.artifacts.paths import INTERNAL_PREFIX, check_path, is_internal
from selfie.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable

__all__ = ["FileDigest", "Files", "Store", "open_store"]


class Files(Protocol):
    """What a kind of store has to do; paths are checked, and errors translated, by `Store`."""

    def local_path(self, path: str, /) -> Path | None: ...
    def below(self, path: str) -> "Files": ...
    def read(self, path: str) -> bytes: ...
    def replace(self, path: str, data: bytes) -> None: ...
    def create(self, path: str, data: bytes) -> None: ...
    def is_file(self, path: str) -> bool: ...
    def walk(self, prefix: str) -> Iterator[str]: ...
    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]: ...
    def remove(self, prefix: str) -> None: ...
    def digest(self, path: str) -> FileDigest: ...
    def put(self, source: Path, path: str, *, keep_source: bool) -> FileDigest: ...
    def get(self, path: str, target: Path) -> FileDigest: ...


@dataclass(frozen=True)
class _Driver:
    """The package behind a scheme, our extra with it, and what its ``pipe_file`` calls metadata."""

    package: str
    extra: str
    metadata_argument: str


_DRIVERS = {"s3": _Driver("s3fs", "s3", "Metadata"), "gs": _Driver("gcsfs", "gcs", "metadata")}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


def open_store(uri: str, *, options: Mapping[str, Any] | None = None) -> "Store":
    """The store at ``uri``; nothing is read or written yet.

    ``options`` go to the object store's client (``endpoint_url``, ``key``, ``secret``, ``token``,
    ``client_kwargs`` for s3fs); what is absent comes from the standard environment of AWS or
    Google. `file://` needs none and ignores them. A new client is made each time, so keep the
    store that is returned; it may be used from many threads, but not after a fork.

    Raises `InvalidInput` for a URI of another kind and `FailedPrecondition` if the package that
    speaks to this kind of store is not installed.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "file":
        return Store(uri, LocalFiles(_local_root(uri, rest)))
    if separator and scheme in _DRIVERS:
        return Store(uri, _object_files(scheme, rest, uri, options or {}))
    raise InvalidInput("uri", f"{uri!r} is not a place for artifacts", "use file:///…, s3://… or gs://…")


def _local_root(uri: str, rest: str) -> Path:
    path = Path(unquote(rest))
    if not path.is_absolute() or ".." in path.parts:
        raise InvalidInput("uri", f"{uri!r} is not an absolute path", "write file:///directory, without ..")
    return path


def _object_files(scheme: str, rest: str, uri: str, options: Mapping[str, Any]) -> ObjectFiles:
    root = rest.rstrip("/")
    bucket, _, prefix = root.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidInput("uri", f"{uri!r} has no valid bucket", f"write {scheme}://bucket/prefix")
    if prefix:
        check_path(prefix, field="uri")
    driver = _DRIVERS[scheme]
    if importlib.util.find_spec(driver.package) is None:
        raise FailedPrecondition(
            "StoreDriverMissing", f"{uri} needs the package {driver.package}; install selfie[{driver.extra}]"
        )
    # Cached listings would hide the files of other processes, and a client shared by way of
    # fsspec's instance cache would keep the credentials that it was first made with.
    settings = {**options, "use_listings_cache": False, "skip_instance_cache": True}
    with translated(uri, missing=Unavailable):
        filesystem = fsspec.filesystem(scheme, **settings)
    return ObjectFiles(filesystem, root, metadata_argument=driver.metadata_argument)


class Store:
    """Files under one root, by relative POSIX paths; may be used from many threads.

    Every method raises `InvalidInput` for a path that is absolute, has ``..`` in it or a
    character that stores disagree about, and `Unavailable`, naming store, path and remedy, when
    the store can't be reached or won't take the data.
    """

    def __init__(self, uri: str, files: Files) -> None:
        self.uri = uri.rstrip("/")
        self._files = files

    def below(self, path: str) -> "Store":
        """The store whose root is the directory ``path`` of this one, through the same client."""
        return Store(self._place(path), self._files.below(path))

    def guarded(self, check: Callable[[], None]) -> "Store":
        """The same store; ``check`` is called before each change of it, and may keep it from happening."""
        return Store(self.uri, GuardedFiles(self._files, check))

    def read(self, path: str) -> bytes:
        """All bytes of a file; `NotFound` if it is not there."""
        with translated(self._place(path), missing=NotFound):
            return self._files.read(path)

    def write(self, path: str, data: bytes) -> None:
        """Writes a file, in place of the one that may be there: readers see one or the other."""
        with translated(self._place(path), missing=Unavailable):
            self._files.replace(path, data)

    def create(self, path: str, data: bytes) -> None:
        """Writes a file that must not be there yet; else `AlreadyExists`, and nothing changes."""
        with translated(self._place(path), missing=Unavailable):
            self._files.create(path, data)

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name; a directory is none."""
        with translated(self._place(path), missing=NotFound):
            return self._files.is_file(path)

    def list(self, prefix: str) -> list[str]:
        """All files in the directory ``prefix`` and below it, sorted.

        An empty prefix is the whole store, a file's path that file alone; ``rounds/1`` does not
        match ``rounds/10``. A prefix with nothing below it gives an empty list.
        """
        prefix = prefix.rstrip("/")
        with translated(self._place(prefix) if prefix else self.uri, missing=Unavailable):
            return sorted(path for path in self._files.walk(prefix) if not is_internal(path))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each file that `list` gives, by its path, in the same order."""
        prefix = prefix.rstrip("/")
        with translated(self._place(prefix) if prefix else self.uri, missing=Unavailable):
            found = sorted(self._files.sizes(prefix))
        return {path: size for path, size in found if not is_internal(path)}

    def delete(self, prefix: str) -> None:
        """Deletes the file ``prefix``, or all files in the directory of that name; none is fine."""
        prefix = prefix.rstrip("/")
        with translated(self._place(prefix), missing=Unavailable):
            self._files.remove(prefix)

    def digest(self, path: str) -> FileDigest:
        """Digest of a file, read without holding it in memory; `NotFound` if it is not there."""
        with translated(self._place(path), missing=NotFound):
            return self._files.digest(path)

    def upload(self, source: Path, path: str, *, keep_source: bool = False) -> FileDigest:
        """Puts a local file into the store, in place of one that may be there.

        On `file://` and the same file system the file is linked, not copied, and becomes
        read-only: whoever uploads a file gives it up. With ``keep_source`` it is copied, for a
        file that somebody may still change. `NotFound` if ``source`` is no file.
        """
        if not source.is_file():
            raise NotFound(f"{source}, to be stored as {self.uri}/{path}, is not a file")
        with translated(self._place(path), missing=Unavailable):
            return self._files.put(source, path, keep_source=keep_source)

    def download(self, path: str, target: Path) -> FileDigest:
        """Puts a file of the store at ``target``, whose directory must exist, whole or not at all.

        From `file://` on the same file system it is linked, not copied: that is safe because no
        file of a store is ever changed in place, and it is read-only. Returns the digest of what
        has arrived; `NotFound` if it is not there.
        """
        if not target.parent.is_dir():
            raise NotFound(f"{target.parent}, to receive {self.uri}/{path}, is not a directory")
        with translated(self._place(path), missing=NotFound):
            return self._files.get(path, target)

    def local_path(self, path: str) -> Path | None:
        """Where the file is on this machine; None in an object store."""
        return self._files.local_path(check_path(path))

    def probe_exclusive_create(self) -> None:
        """Creates a file twice and deletes it; `FailedPrecondition` unless the second one fails.

        Some servers that speak S3's protocol ignore the condition: on those two writers could
        both publish, and the later one would win without anybody noticing.
        """
        path = f"{INTERNAL_PREFIX}probe-{uuid.uuid4().hex}"
        # Told by the place alone: with another name each time, a run's status would never come to rest.
        with translated(self.uri, missing=Unavailable):
            self._files.create(path, b"first")
            try:
                self._create_again(path)
            finally:
                self._files.remove(path)

    def _create_again(self, path: str) -> None:
        try:
            self._files.create(path, b"second")
        except FileExistsError:
            return
        raise FailedPrecondition(
            "ExclusiveCreateUnsupported",
            f"{self.uri}: a second creation of the same file was accepted, so two writers could both "
            "publish; use a store that honours If-None-Match (S3) or ifGenerationMatch (GCS)",
        )

    def _place(self, path: str) -> str:
        return f"{self.uri}/{check_path(path)}"
