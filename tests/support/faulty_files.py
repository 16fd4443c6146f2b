"""A store whose operations fail now and then, as disks and object stores do."""

import errno
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from selfie.artifacts.digests import FileDigest
from selfie.artifacts.local_files import LocalFiles

T = TypeVar("T")
ERRORS = (
    OSError(errno.EIO, "input/output error"),
    OSError(errno.ENOSPC, "no space left on device"),
    ConnectionResetError("connection reset by peer"),
    TimeoutError("timed out"),
)


class FaultyFiles:
    """`LocalFiles` with faults: an error before, a lost reply after, a delay, a short read.

    ``rate`` is the chance of a fault in one operation; equal ``seed``, equal faults.
    """

    def __init__(self, root: Path, *, seed: int, rate: float) -> None:
        self._files = LocalFiles(root)
        self._random = random.Random(seed)
        self.rate = rate
        self.faults = 0

    def local_path(self, path: str) -> Path | None:
        return None

    def read(self, path: str) -> bytes:
        data = self._do(lambda: self._files.read(path))
        if data and self._random.random() < self.rate / 4:
            self.faults += 1
            return data[: self._random.randrange(len(data))]
        return data

    def replace(self, path: str, data: bytes) -> None:
        self._do(lambda: self._files.replace(path, data))

    def create(self, path: str, data: bytes) -> None:
        self._do(lambda: self._files.create(path, data))

    def is_file(self, path: str) -> bool:
        return self._do(lambda: self._files.is_file(path))

    def walk(self, prefix: str) -> Iterator[str]:
        yield from self._do(lambda: list(self._files.walk(prefix)))

    def remove(self, prefix: str) -> None:
        self._do(lambda: self._files.remove(prefix))

    def digest(self, path: str) -> FileDigest:
        return self._do(lambda: self._files.digest(path))

    def put(self, source: Path, path: str, *, keep_source: bool) -> FileDigest:
        return self._do(lambda: self._files.put(source, path, keep_source=True))

    def get(self, path: str, target: Path) -> FileDigest:
        return self._do(lambda: self._files.get(path, target))

    def _do(self, operation: Callable[[], T]) -> T:
        if self._random.random() >= self.rate:
            return operation()
        self.faults += 1
        match self._random.choice(("error", "lost reply", "delay")):
            case "error":
                raise self._random.choice(ERRORS)
            case "lost reply":
                operation()
                raise self._random.choice(ERRORS)
            case _:
                time.sleep(self._random.random() / 200)
                return operation()
