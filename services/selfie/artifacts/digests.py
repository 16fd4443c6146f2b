"""SHA-256 of bytes, files and streams: what every file in a store is known by."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Lower-case hexadecimal SHA-256 of a file, and its size in bytes."""

    sha256: str
    bytes: int


def digest_bytes(data: bytes) -> FileDigest:
    """Digest of bytes in memory."""
    return FileDigest(hashlib.sha256(data).hexdigest(), len(data))


def digest_file(path: Path) -> FileDigest:
    """Digest of a file on this machine, read once in small pieces."""
    with path.open("rb") as stream:
        return digest_stream(stream)


def digest_stream(stream: BinaryIO) -> FileDigest:
    """Digest of what is left to read of ``stream``."""
    sha256, size = hashlib.sha256(), 0
    while chunk := stream.read(1 << 20):
        sha256.update(chunk)
        size += len(chunk)
    return FileDigest(sha256.hexdigest(), size)
