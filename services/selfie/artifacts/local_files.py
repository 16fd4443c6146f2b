"""A store's files in a directory of this machine (`file://`), without fsspec.

fsspec's local file system neither creates exclusively with the whole content in place nor
forces data to the disk. Here every file is written whole under a temporary name, forced to the
disk, and only then named: by `os.link`, which fails if the name is taken, or by renaming, which
replaces. A reader sees the old file, the new one or none, and so it is after a power cut.

No file is ever changed in place, and none is writable (0444 under the usual mask). That is what
makes hard links into and out of the store as good as copies.
"""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from selfie.artifacts.digests import FileDigest, digest_file
from selfie.artifacts.paths import INTERNAL_PREFIX

_READ_ONLY = 0o444
_WRITE_BITS = 0o222
# What `os.link` says of two file systems, of one without links, and of a file linked too often.
_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EMLINK})


class LocalFiles:
    """Files under ``root``, which the first write creates; raises `OSError` alone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def local_path(self, path: str) -> Path:
        return self._root / path

    def below(self, path: str) -> "LocalFiles":
        return LocalFiles(self._root / path)

    def read(self, path: str) -> bytes:
        return self.local_path(path).read_bytes()

    def replace(self, path: str, data: bytes) -> None:
        target = self._target(path)
        with _beside(target) as temporary:
            _write(temporary, data)
            temporary.replace(target)
        _sync_directory(target.parent)

    def create(self, path: str, data: bytes) -> None:
        """Raises `FileExistsError` if the path is taken, `ENOTSUP` if the disk has no links."""
        target = self._target(path)
        with _beside(target) as temporary:
            _write(temporary, data)
            if not link(temporary, target):
                raise OSError(errno.ENOTSUP, "the file system has no hard links", str(target))
        _sync_directory(target.parent)

    def is_file(self, path: str) -> bool:
        return self.local_path(path).is_file()

    def walk(self, prefix: str) -> Iterator[str]:
        """Paths of all files at or below ``prefix``."""
        top = self.local_path(prefix)
        if prefix and top.is_file():
            yield prefix
        for directory, _, names in os.walk(top, onerror=_raise_unless_gone):
            below = Path(directory).relative_to(self._root)
            yield from ((below / name).as_posix() for name in names)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Paths of all files at or below ``prefix``, with their bytes; what goes meanwhile is left out."""
        for path in self.walk(prefix):
            with suppress(FileNotFoundError):
                yield path, self.local_path(path).stat().st_size

    def remove(self, prefix: str) -> None:
        """Removes a file, or a directory with all that is in it; what is gone is gone."""
        top = self.local_path(prefix)
        try:
            if top.is_dir():
                shutil.rmtree(top)
            else:
                top.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return

    def digest(self, path: str) -> FileDigest:
        return digest_file(self.local_path(path))

    def put(self, source: Path, path: str, *, keep_source: bool) -> FileDigest:
        return _place(source, self._target(path), may_link=not keep_source)

    def get(self, path: str, target: Path) -> FileDigest:
        return _place(self.local_path(path), target, may_link=True)

    def _target(self, path: str) -> Path:
        target = self.local_path(path)
        _make_directory(target.parent)
        return target


def _place(source: Path, target: Path, *, may_link: bool) -> FileDigest:
    """Gives the content of ``source`` the name ``target`` at once, and returns its digest."""
    # os.link names a symbolic link itself on Linux, not the file behind it.
    source = source.resolve(strict=True)
    with _beside(target) as temporary:
        if not (may_link and _is_own(source) and link(source, temporary)):
            shutil.copyfile(source, temporary)
        _seal(temporary)
        digest = digest_file(temporary)
        temporary.replace(target)
    _sync_directory(target.parent)
    return digest


def _is_own(path: Path) -> bool:
    """Only of one's own file may the mode be changed."""
    return path.stat().st_uid == os.geteuid()


def link(source: Path, target: Path) -> bool:
    """Links; False if these file systems can't, `FileExistsError` if the name is another file's.

    A network file system repeats a request whose answer was lost, and then finds its own link.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        if not target.samefile(source):
            raise
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A temporary name in the target's directory, gone afterwards.

    It has to be removed even after the renaming, which leaves it if both are the same file.
    """
    temporary = target.with_name(f"{INTERNAL_PREFIX}{uuid.uuid4().hex}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READ_ONLY)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)


def _seal(path: Path) -> None:
    """Takes away the right to write to the file and forces it to the disk."""
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_WRITE_BITS)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(directory: Path) -> None:
    """Makes the directory and those above it, each forced to the disk."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    try:
        directory.mkdir()
    except FileExistsError:
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from None
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
