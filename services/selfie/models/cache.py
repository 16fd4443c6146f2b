"""Directories that are made beside the cache and get their name when they are whole.

Many processes may want the same checkpoint at once: each makes its own, the first to finish
names it, and the others find that one. A crash leaves nothing that looks finished.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def default_cache() -> Path:
    """``SELFIE_CACHE``, or ``~/.cache/selfie``."""
    return Path(os.environ.get("SELFIE_CACHE") or Path.home() / ".cache" / "selfie")


@contextmanager
def unfinished(parent: Path) -> Iterator[Path]:
    """A new directory below ``parent`` to fill and `finish`; what is not finished is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=parent))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def finish(partial: Path, target: Path) -> None:
    """Names the directory ``target`` and lets others read it, unless somebody else was first."""
    for path in (partial, *partial.iterdir()):
        path.chmod(0o755 if path.is_dir() else path.stat().st_mode | 0o444)
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
