"""Which pairs two evaluations have in common, by what names them and by what they say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Places: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Matching:
    """Places of the common items in the first and in the second, shape [m] both; and who has no partner.

    ``altered`` are names that both have for different content: two files of one name number their
    lines alike.
    """

    first: Places
    second: Places
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    altered: tuple[str, ...]


def match(first: Mapping[str, str], second: Mapping[str, str]) -> Matching:
    """Matches items by name; the values are digests of their content, in the order of the items."""
    places = {name: place for place, name in enumerate(second)}
    common = [
        (place, places[name])
        for place, (name, content) in enumerate(first.items())
        if second.get(name) == content
    ]
    mine, theirs = np.array(common, dtype=np.intp).reshape(-1, 2).T
    return Matching(
        first=mine,
        second=theirs,
        only_first=tuple(name for name in first if name not in second),
        only_second=tuple(name for name in second if name not in first),
        altered=tuple(name for name, content in first.items() if second.get(name, content) != content),
    )
