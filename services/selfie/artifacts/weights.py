"""Checkpoint directories: into the store, out of it, and their digest.

A checkpoint is known by one digest over the names and contents of its files, so that the same
weights have the same digest wherever they lie and whoever stored them.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from selfie.artifacts.digests import digest_file
from selfie.artifacts.manifests import FileEntry, check_digest, read_manifest
from selfie.artifacts.paths import check_path
from selfie.artifacts.retirements import missing_file
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, FailedPrecondition, InvalidInput, NotFound, Unavailable


def weights_digest(entries: Iterable[FileEntry]) -> str:
    """SHA-256 over one line ``<name> <sha256>`` a file, sorted; lower-case hexadecimal.

    Raises `InvalidInput` for no file at all, or for two of one name.
    """
    entries = tuple(entries)
    if len({entry.name for entry in entries}) != len(entries) or not entries:
        raise InvalidInput(
            "files", "a checkpoint needs at least one file, each of another name", "check its group"
        )
    lines = sorted(f"{entry.name} {entry.sha256}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def directory_digest(directory: Path) -> str:
    """Digest over names and contents of all files below ``directory``, as a manifest of it would have it."""
    return weights_digest(
        FileEntry(group="checkpoint", name=name, path=name, sha256=found.sha256, bytes=found.bytes)
        for name in _names(directory)
        for found in (digest_file(directory / name),)
    )


def verified_digest(directory: Path, promised: str, *, verify: bool) -> str:
    """The digest that a directory is known by: computed, unless one is promised and not to be verified.

    Raises `DataCorrupted` where it is another than the one ``promised``; an empty promise takes any.
    """
    if promised and not verify:
        return promised
    found = directory_digest(directory)
    if promised not in ("", found):
        raise DataCorrupted(f"{directory} has the digest {found}, not {promised}; fetch the weights again")
    return found


def add_directory(
    store: Store, directory: Path, *, group: str, path: str, keep_source: bool = False
) -> tuple[FileEntry, ...]:
    """Stores every file below ``directory`` under ``path``, by name; see `Store.upload` for ``keep_source``.

    Raises `NotFound` if it is no directory, and `InvalidInput` if it is empty or a name in it is
    not fit for a store.
    """
    names = sorted(_names(directory))
    if not names:
        raise InvalidInput(
            "directory", f"{directory} has no files in it", "name the directory of a checkpoint"
        )
    for name in names:
        check_path(f"{path}/{name}", field=f"file name in {directory}")
    return tuple(
        _add(store, directory / name, group=group, name=name, path=path, keep_source=keep_source)
        for name in names
    )


def pull(store: Store, entries: Iterable[FileEntry], cache_root: Path) -> Path:
    """The checkpoint as a directory ``<cache_root>/<digest>`` of this machine, fetched if it is not there.

    The directory gets its name when all of its files have arrived and been verified, so many may
    pull the same weights at once. From `file://` the files are linked; all are read-only. Raises
    `DataCorrupted`, which names the file, if one is missing or altered in the store, or if the
    directory that is there no longer has its files at their sizes; `FailedPrecondition` if retention
    has removed it.
    """
    entries = tuple(entries)
    target = cache_root / weights_digest(entries)
    if not target.is_dir():
        _fetch(store, entries, target)
    _check_sizes(entries, target)
    return target


def pull_into(store: Store, entries: Iterable[FileEntry], directory: Path) -> str:
    """Makes ``directory`` the checkpoint, whole or not at all, unless it is that already; returns its digest.

    It may be empty or not be there; its parent is made. Raises `InvalidInput` for one that holds
    anything else, and otherwise what `pull` raises.
    """
    entries, directory = tuple(entries), directory.resolve()
    digest = weights_digest(entries)
    if directory.exists() and not directory.is_dir():
        raise InvalidInput("DIR", f"{directory} is not a directory", "give another place")
    if directory.is_dir() and any(directory.iterdir()):
        _require_digest(directory, digest)
        return digest
    if directory.is_mount():
        problem = f"{directory} is a mount point, and nothing can take its place"
        raise InvalidInput("DIR", problem, f"give a directory below it, such as {directory}/checkpoint")
    if not _fetch(store, entries, directory):
        _require_digest(directory, digest)
    return digest


def _require_digest(directory: Path, digest: str) -> None:
    found = directory_digest(directory)
    if found != digest:
        problem = f"{directory} has other files than the checkpoint {digest}: its digest is {found}"
        raise InvalidInput("DIR", problem, "empty it, or give another directory")


def pull_published(store: Store, step: str, group: str, *, digest: str, cache_root: Path) -> Path:
    """`pull` of the weights that a step has published in a group, which must have this digest.

    `NotFound` where it has published none, `FailedPrecondition` ``WeightsDiffer`` where they are others.
    """
    manifest = read_manifest(store, step)
    if manifest is None:
        raise NotFound(f"{store.uri}: step {step} has published no weights")
    entries = manifest.group(group)
    found = weights_digest(entries)
    if found != digest:
        raise FailedPrecondition(
            "WeightsDiffer", f"{store.uri}: {step} has the weights {found}, and not {digest}, as asked"
        )
    return pull(store, entries, cache_root)


def _add(store: Store, file: Path, *, group: str, name: str, path: str, keep_source: bool) -> FileEntry:
    stored = f"{path}/{name}"
    digest = store.upload(file, stored, keep_source=keep_source)
    return FileEntry(group=group, name=name, path=stored, sha256=digest.sha256, bytes=digest.bytes)


def _names(directory: Path) -> Iterator[str]:
    if not directory.is_dir():
        raise NotFound(f"{directory} is not a directory")
    for parent, directories, files in os.walk(directory, onerror=_raise):
        below = Path(parent).relative_to(directory)
        for name in directories:
            # Its files would be passed over in silence.
            if (Path(parent) / name).is_symlink():
                raise InvalidInput(
                    "directory", f"{below / name} in {directory} is a link", "put the files there"
                )
        yield from ((below / name).as_posix() for name in files)


def _raise(error: OSError) -> None:
    """A directory that can't be read would be passed over in silence too."""
    raise Unavailable(f"{error}; make the directory readable") from error


def _fetch(store: Store, entries: tuple[FileEntry, ...], target: Path) -> bool:
    """Whether it was put there; else somebody else was there first."""
    arriving = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        arriving.mkdir(parents=True)
        for entry in entries:
            _fetch_file(store, entry, arriving / entry.name)
        return _name(arriving, target)
    except OSError as error:
        raise Unavailable(
            f"{target.parent}: {error}; give a cache directory with room for the weights"
        ) from error
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _fetch_file(store: Store, entry: FileEntry, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = store.download(entry.path, file)
    except NotFound as error:
        raise missing_file(store, entry) from error
    check_digest(store, entry, found)


def _name(arrived: Path, target: Path) -> bool:
    """Gives the directory its name, unless somebody else has pulled the same weights meanwhile."""
    try:
        arrived.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        return False
    return True


def _check_sizes(entries: tuple[FileEntry, ...], directory: Path) -> None:
    for entry in entries:
        file = directory / entry.name
        if not file.is_file() or file.stat().st_size != entry.bytes:
            raise DataCorrupted(
                f"{file} is missing or cut short; delete {directory} to have it fetched again"
            )
