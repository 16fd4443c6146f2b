"""The one rule for names in a store, the same on every kind of store.

A path is relative and POSIX, and made of characters that no shell, glob or object store reads
as anything but themselves. So a path taken from a manifest can't leave the run's root, and a
run copied from one store to another keeps its names.
"""

import re

from selfie.errors import InvalidInput

# Begins the names that a store makes for itself: files half written, and probes.
INTERNAL_PREFIX = ".selfie-"

_SEGMENT = re.compile(r"[A-Za-z0-9_.=+@,:~-]{1,255}")
_MAX_LENGTH = 900  # S3 ends keys at 1024 bytes, and the root's prefix needs its share


def check_path(path: str, *, field: str = "path") -> str:
    """Returns ``path`` if it names a file under a store's root; else raises `InvalidInput`."""
    problem = _problem(path)
    if problem is not None:
        raise InvalidInput(
            field,
            f"{path!r} {problem}",
            "use a relative path such as rounds/01/score/manifest.json, of letters, digits and _.=+@,:~-",
        )
    return path


def is_internal(path: str) -> bool:
    """Whether the file is one that the store keeps for itself and never lists."""
    return path.rpartition("/")[2].startswith(INTERNAL_PREFIX)


def _problem(path: str) -> str | None:
    if not path or path.startswith("/"):
        return "is empty or absolute"
    if len(path) > _MAX_LENGTH:
        return f"is longer than {_MAX_LENGTH} characters"
    segments = path.split("/")
    if any(segment in (".", "..") for segment in segments):
        return "has a . or .. in it"
    if is_internal(path):
        return f"begins with {INTERNAL_PREFIX}, which the store keeps for itself"
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        return "has an empty part or a character that is not allowed"
    return None
