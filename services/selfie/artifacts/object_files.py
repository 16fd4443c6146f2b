"""A store's files as objects of a bucket, through fsspec (s3fs for `s3://`, gcsfs for `gs://`).

Exclusive creation is fsspec's ``mode="create"``: a PUT with ``If-None-Match: *`` on S3, with
``ifGenerationMatch=0`` on Google Cloud Storage. Three things about it were read in the clients
and are mended here:

* both clients repeat a request whose answer was lost, and the repetition then meets the object
  that the first try made. Each creation therefore carries a mark of its own in the object's
  metadata, and finding one's own mark is success;
* S3 answers 409 to one of two creations at the same moment: it has to be asked again;
* s3fs makes a `FileExistsError` of a 412 only when the answer names the condition, as Amazon's
  and not every compatible server's does.
"""

import errno
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfie.artifacts.digests import FileDigest, digest_file, digest_stream
from selfie.artifacts.failures import service_code
from selfie.artifacts.paths import INTERNAL_PREFIX

_MARK = "selfie-creation"
_TAKEN = frozenset({"PreconditionFailed", "412"})
_CONFLICTING = frozenset({"ConditionalRequestConflict", "409"})
_CONFLICT_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)


class ObjectFiles:
    """Files under ``root`` (``bucket/prefix``) of an fsspec file system; raises its errors.

    ``metadata_argument`` is what the file system's ``pipe_file`` calls an object's metadata;
    without it a repeated creation can't be told from somebody else's.
    """

    def __init__(self, filesystem: Any, root: str, *, metadata_argument: str | None = None) -> None:
        self._filesystem = filesystem
        self._root = root.strip("/")
        self._metadata_argument = metadata_argument

    def local_path(self, _path: str) -> None:
        return None

    def below(self, path: str) -> "ObjectFiles":
        """The same bucket through the same client, from a deeper prefix on."""
        return ObjectFiles(self._filesystem, self._full(path), metadata_argument=self._metadata_argument)

    def read(self, path: str) -> bytes:
        return bytes(self._filesystem.cat_file(self._full(path)))

    def replace(self, path: str, data: bytes) -> None:
        self._filesystem.pipe_file(self._full(path), data)

    def create(self, path: str, data: bytes) -> None:
        """Raises `FileExistsError` if the path is taken by another creation than this one."""
        mark = uuid.uuid4().hex
        for pause_s in _CONFLICT_PAUSES_S:
            if self._create_once(path, data, mark):
                return
            time.sleep(pause_s)
        raise OSError(errno.EBUSY, "others keep creating the same object", path)

    def is_file(self, path: str) -> bool:
        try:
            return bool(self._filesystem.info(self._full(path))["type"] == "file")
        except FileNotFoundError as error:
            if service_code(error) == "NoSuchBucket":
                raise
            return False

    def walk(self, prefix: str) -> Iterator[str]:
        """Paths of all objects at or below ``prefix``."""
        yield from (path for path, _ in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Paths of all objects at or below ``prefix``, with their bytes."""
        for found, details in self._filesystem.find(self._full(prefix), detail=True).items():
            yield found.lstrip("/").removeprefix(f"{self._root}/"), int(details["size"])

    def remove(self, prefix: str) -> None:
        """Removes an object, or all those below a prefix; what is gone is gone."""
        for path in list(self.walk(prefix)):
            try:
                self._filesystem.rm_file(self._full(path))
            except FileNotFoundError:
                continue

    def digest(self, path: str) -> FileDigest:
        with self._filesystem.open(self._full(path), "rb") as stream:
            return digest_stream(stream)

    def put(self, source: Path, path: str, *, keep_source: bool) -> FileDigest:
        del keep_source  # an object is always a copy
        digest = digest_file(source)
        self._filesystem.put_file(str(source), self._full(path))
        return digest

    def get(self, path: str, target: Path) -> FileDigest:
        temporary = target.with_name(f"{INTERNAL_PREFIX}{uuid.uuid4().hex}")
        try:
            self._filesystem.get_file(self._full(path), str(temporary))
            digest = digest_file(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    def _create_once(self, path: str, data: bytes, mark: str) -> bool:
        """Creates; False when another creation was going on, and it has to be tried again."""
        metadata = {self._metadata_argument: {_MARK: mark}} if self._metadata_argument else {}
        try:
            self._filesystem.pipe_file(self._full(path), data, mode="create", **metadata)
        except Exception as error:
            code = service_code(error)
            if code in _CONFLICTING:
                return False
            if not isinstance(error, FileExistsError) and code not in _TAKEN:
                raise
            if self._mark_of(path) != mark:
                raise FileExistsError(errno.EEXIST, "the object is already there", path) from error
        return True

    def _mark_of(self, path: str) -> str | None:
        if self._metadata_argument is None:
            return None
        try:
            return str(self._filesystem.getxattr(self._full(path), _MARK))
        except (KeyError, FileNotFoundError):
            return None
