"""Places in a SelfieRun: as a path for people, and as the keys and indices that lead there."""

import json
import re
from typing import TypeAlias

Location: TypeAlias = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PART = re.compile(r'\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]')
_WHOLE = "the file"
_IN_KEY = "[key]"
"""With this pydantic ends a location where the key itself is wrong."""


def path_of(location: Location) -> str:
    """``spec.rounds[0].lambda``, ``metadata.labels["a.b/c"]``; the file itself for an empty location."""
    parts = (_shown(part) for part in location if part != _IN_KEY)
    return "".join(parts).removeprefix(".") or _WHOLE


def location_of(path: str) -> Location:
    """The location whose path this is."""
    if path == _WHOLE:
        return ()
    return tuple(
        int(index) if index else json.loads(quoted) if quoted else name
        for name, index, quoted in _PART.findall(path)
    )


def _shown(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN.fullmatch(part) else f"[{json.dumps(part, ensure_ascii=False)}]"
