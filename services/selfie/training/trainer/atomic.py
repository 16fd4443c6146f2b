"""Makes a directory whole by the file that is written last."""

import contextlib
import os
from pathlib import Path


def write_last(path: Path, text: str) -> None:
    """Writes the file whose presence says that all others in its directory are whole.

    They are forced to the disk before it gets its name, and so is the directory after: a power cut
    leaves it there with all of them, or not there.
    """
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    for file in path.parent.rglob("*"):
        # One that goes meanwhile is moved into place by another rank, which forces it itself.
        with contextlib.suppress(FileNotFoundError):
            if file.is_file():
                _force_to_disk(file)
    partial.replace(path)
    _force_to_disk(path.parent)


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
