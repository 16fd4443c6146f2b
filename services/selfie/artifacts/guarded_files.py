"""Files that are only changed while somebody may change them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selfie.artifacts.digests import FileDigest

if TYPE_CHECKING:
    from selfie.artifacts.store import Files


@dataclass(frozen=True)
class GuardedFiles:
    """``check`` is called right before each change, in its thread; what it raises keeps it from happening."""

    files: "Files"
    check: Callable[[], None]

    def below(self, path: str) -> "GuardedFiles":
        return GuardedFiles(self.files.below(path), self.check)

    def local_path(self, path: str, /) -> Path | None:
        return self.files.local_path(path)

    def read(self, path: str) -> bytes:
        return self.files.read(path)

    def is_file(self, path: str) -> bool:
        return self.files.is_file(path)

    def walk(self, prefix: str) -> Iterator[str]:
        return self.files.walk(prefix)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self.files.sizes(prefix)

    def digest(self, path: str) -> FileDigest:
        return self.files.digest(path)

    def get(self, path: str, target: Path) -> FileDigest:
        return self.files.get(path, target)

    def replace(self, path: str, data: bytes) -> None:
        self.check()
        self.files.replace(path, data)

    def create(self, path: str, data: bytes) -> None:
        self.check()
        self.files.create(path, data)

    def remove(self, prefix: str) -> None:
        self.check()
        self.files.remove(prefix)

    def put(self, source: Path, path: str, *, keep_source: bool) -> FileDigest:
        self.check()
        return self.files.put(source, path, keep_source=keep_source)
