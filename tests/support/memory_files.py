"""Files of a store in memory, whose every read and write can be seen and cut off."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from kube_double import Hooks
from selfie.artifacts.digests import FileDigest
from selfie.artifacts.paths import is_internal


class MemoryFiles:
    """Files of a store in a dictionary."""

    def __init__(self, data: dict[str, bytes], root: str, hooks: Hooks) -> None:
        self.data, self.root, self.hooks = data, root, hooks

    def below(self, path: str) -> "MemoryFiles":
        return MemoryFiles(self.data, f"{self.root}/{path}", self.hooks)

    def local_path(self, path: str, /) -> Path | None:
        return None

    def read(self, path: str) -> bytes:
        self.hooks.read(path)
        try:
            return self.data[f"{self.root}/{path}"]
        except KeyError as error:
            raise FileNotFoundError(path) from error

    def replace(self, path: str, data: bytes) -> None:
        # A probe has another name each time.
        what = "store probe" if is_internal(path) else f"store {path}"
        self.hooks.before(what)
        self.data[f"{self.root}/{path}"] = data
        self.hooks.after(what)

    def create(self, path: str, data: bytes) -> None:
        if f"{self.root}/{path}" in self.data:
            raise FileExistsError(path)
        self.replace(path, data)

    def is_file(self, path: str) -> bool:
        return f"{self.root}/{path}" in self.data

    def walk(self, prefix: str) -> Iterator[str]:
        yield from (path for path, _ in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        whole = f"{self.root}/{prefix}".rstrip("/")
        for path, data in list(self.data.items()):
            if path == whole or path.startswith(f"{whole}/"):
                yield path.removeprefix(f"{self.root}/"), len(data)

    def remove(self, prefix: str) -> None:
        for path, _ in list(self.sizes(prefix)):
            self.data.pop(f"{self.root}/{path}", None)

    def digest(self, path: str) -> FileDigest:
        data = self.read(path)
        return FileDigest(hashlib.sha256(data).hexdigest(), len(data))

    def put(self, source: Path, path: str, *, keep_source: bool) -> FileDigest:
        raise NotImplementedError

    def get(self, path: str, target: Path) -> FileDigest:
        raise NotImplementedError
