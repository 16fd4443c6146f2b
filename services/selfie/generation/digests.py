"""Which weights an engine serves, read off what it calls them. Pure.

Engines know their weights by a path or a name. Selfie puts every checkpoint into a directory that
is named by its digest, and names nothing else so: what is served from ``/weights/<digest>`` has
that digest, which whoever fetched it has verified.
"""

import re

_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_in(name: str | None) -> str:
    """The digest that a name or a path ends with, or an empty string."""
    last = (name or "").rstrip("/").rpartition("/")[2]
    return last if _DIGEST.fullmatch(last) else ""
