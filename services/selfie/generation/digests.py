"""Which weights an engine serves, read off what it calls them. Pure.

Engines know their weights by a path or a name. Selfie puts every checkpoint into a directory that
is named by its digest, and names nothing else so: what is served from ``/weights/<digest>`` has
that digest, which whoever fetched it has verified.
"""

import re

from selfie.runs.names import CURRENT_WEIGHTS

_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_in(name: str | None) -> str:
    """The digest that a name or a path ends with, or an empty string."""
    last = _last(name)
    return last if _DIGEST.fullmatch(last) else ""


def is_followed(path: str | None) -> bool:
    """Whether somebody beside the engine moves it, and is to say which weights it has."""
    return _last(path) == CURRENT_WEIGHTS


def _last(path: str | None) -> str:
    return (path or "").rstrip("/").rpartition("/")[2]
