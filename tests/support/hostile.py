"""What a SelfieRun is that somebody might write to get more than a run, and who refuses it.

``by`` says who refuses: the API server alone by the CRD (`API`), the typed model (`MODEL`), the
operator once it puts places into the cluster's (`OPERATOR`). Every row is refused by one of them,
and so before a child of the run exists; the tests hold each row to exactly those that are named.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

API, MODEL, OPERATOR = "API server", "typed model", "operator"
BOTH = frozenset({API, MODEL})
BY_API = frozenset({API})
BY_OPERATOR = frozenset({OPERATOR})
BY_BOTH_PLACES = frozenset({API, OPERATOR})

ABSENT = object()
"""A value that takes the field away."""

BASE: Mapping[str, Any] = {
    "apiVersion": "selfie.dev/v1alpha1",
    "kind": "SelfieRun",
    "metadata": {"name": "toy"},
    "spec": {
        "model": {"uri": "hf://org/model"},
        "seed": {"dataset": "seed.jsonl", "heldout": "heldout.jsonl", "size": 8},
        "rounds": [{"prompts": {"dataset": "a.jsonl", "count": 8}}],
        "evaluation": {"prompts": {"dataset": "e.jsonl"}},
    },
}
SOURCES_ROOT = "file:///usr/share/selfie/examples"
ARTIFACT_ROOTS = ("file:///var/lib/selfie/artifacts",)


@dataclass(frozen=True)
class Hostile:
    """``BASE`` with ``value`` at ``place``, and with ``more`` where one change alone would do no harm."""

    category: str
    place: str
    value: Any
    by: frozenset[str]
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        shown = "absent" if self.value is ABSENT else repr(self.value)
        text = f"{self.category}: {self.place} = {shown}"
        return text.encode("unicode_escape").decode()[:110]

    def run(self) -> dict[str, Any]:
        """The object as it would be sent."""
        return with_changes(BASE, {**self.more, self.place: self.value})


def with_changes(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the value of each path, such as ``spec.rounds.0.prompts.from``, put in its place."""
    changed = deepcopy(dict(base))
    for path, value in changes.items():
        *way, last = path.split(".")
        place: Any = changed
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if isinstance(place, list):
            place[int(last) :] = [] if value is ABSENT else [value]
        elif value is ABSENT:
            del place[last]
        else:
            place[last] = value
    return changed


def rows(category: str, by: frozenset[str], *found: tuple[Any, ...]) -> list[Hostile]:
    """Rows of one category: place, value, and what else is changed."""
    return [Hostile(category, row[0], row[1], by, row[2] if len(row) > 2 else {}) for row in found]
