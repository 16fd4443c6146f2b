"""All that lies under a run's root, as one look found it: the steps that are published, and everything else.

The files are listed before the manifests are read. A step that is published in between is seen
with all of its files named; one that is published later is not seen, and nobody takes its files
for nobody's.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from selfie.artifacts.manifests import FileEntry, Manifest, ManifestRef, read_published
from selfie.artifacts.retirements import Retirement, read_retirement, retirement_path
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, FailedPrecondition
from selfie.runs.steps import Step, step_at

RECORDS: Final = frozenset(
    {
        "asked",
        "cancel",
        "error.json",
        "job.json",
        "log.txt",
        "operation.json",
        "parameters.json",
        "progress.json",
    }
)
"""What is kept of an attempt beside what it has made: who did it, and how it went.

So are the records of its starts, and the logs of further nodes.
"""
_NUMBERED_RECORD = re.compile(r"(starts/\d+-\d+\.json|log-\d+\.txt)")

_ORDER = (
    "adopt",
    "prepare",
    "evaluate-initial",
    "evaluator",
    "seed",
    "generate",
    "score",
    "filter",
    "train",
    "publish",
    "serve",
    "evaluate-samples",
    "evaluate-heldout",
    "evaluate-measures",
    "evaluate-ratings",
)
_ATTEMPT = re.compile(r"(?P<step>.+?)/a(?P<number>[1-9][0-9]*)/.+")


@dataclass(frozen=True, order=True)
class AttemptPlace:
    """One attempt at a step, by the directory that it writes to."""

    step: str
    number: int

    @property
    def path(self) -> str:
        """The directory under the run's root."""
        return f"{self.step}/a{self.number}"


@dataclass(frozen=True)
class Inventory:
    """``published`` by path of the step, in the order in which steps are done.

    ``sizes`` has the bytes of every file of a step; ``unreadable`` says of each manifest that
    can't be read why. A run's other files (its status, report and local caches) are not looked at.
    """

    sizes: Mapping[str, int]
    published: Mapping[str, tuple[Manifest, ManifestRef]]
    unreadable: Mapping[str, str]
    retired: Mapping[str, Retirement]

    @cached_property
    def manifests(self) -> Mapping[str, Manifest]:
        """The manifests that are published, by path of the step."""
        return {step: manifest for step, (manifest, _) in self.published.items()}

    @cached_property
    def attempts(self) -> Mapping[AttemptPlace, tuple[str, ...]]:
        """The files of each attempt that has any, by path."""
        found: dict[AttemptPlace, list[str]] = defaultdict(list)
        for path in self.sizes:
            place = attempt_of(path)
            if place is not None:
                found[place].append(path)
        return {place: tuple(found[place]) for place in sorted(found, key=_in_order)}

    @cached_property
    def names(self) -> Mapping[str, frozenset[tuple[str, str]]]:
        """By path of a file: every step and group whose manifest names it."""
        found: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for step, manifest in self.manifests.items():
            for entry in manifest.files:
                found[entry.path].add((step, entry.group))
        return {path: frozenset(groups) for path, groups in found.items()}

    def is_retired(self, step: str, group: str) -> bool:
        """Whether retention has let this group of the step go."""
        return step in self.retired and self.retired[step].group == group

    def unnamed(self, place: AttemptPlace) -> tuple[str, ...]:
        """Files of the attempt that no manifest names, beside its records and its shards' side-cars."""
        return tuple(
            path
            for path in self.attempts.get(place, ())
            if path not in self.names
            and path.removesuffix(".json") not in self.names
            and not _is_record(path.removeprefix(f"{place.path}/"))
        )

    def require_readable(self) -> None:
        """Raises `DataCorrupted` while a manifest can't be read: nobody knows which files it names."""
        for problem in self.unreadable.values():
            raise DataCorrupted(f"{problem}; nothing is removed until it can be read")

    def entries(self, step: str, group: str) -> tuple[FileEntry, ...]:
        """The files of a group that a manifest names."""
        return tuple(entry for entry in self.manifests[step].files if entry.group == group)


def take_inventory(store: Store) -> Inventory:
    """Lists the files of all steps, then reads every manifest and every record of retention."""
    sizes = {path: size for path, size in store.sizes("").items() if _belongs_to_a_step(path)}
    published: dict[str, tuple[Manifest, ManifestRef]] = {}
    unreadable: dict[str, str] = {}
    retired: dict[str, Retirement] = {}
    for step in sorted(_steps_with_manifest(sizes), key=step_order):
        try:
            found = read_published(store, step.path)
            if found is None:
                continue
            published[step.path] = found
            record = read_retirement(store, step.path) if retirement_path(step.path) in sizes else None
            if record is not None and record.is_about(found[0]):
                retired[step.path] = record
        except (DataCorrupted, FailedPrecondition) as error:
            unreadable[step.path] = str(error)
    return Inventory(sizes, published, unreadable, retired)


def attempt_of(path: str) -> AttemptPlace | None:
    """The attempt whose directory the file is in; None for what belongs to no attempt."""
    match = _ATTEMPT.fullmatch(path)
    if match is None or step_at(match["step"]) is None:
        return None
    return AttemptPlace(match["step"], int(match["number"]))


def step_order(step: Step) -> tuple[int, int]:
    """Sorts steps into the order in which they are done; one of another name is the last of its round."""
    return step.round, _ORDER.index(step.name) if step.name in _ORDER else len(_ORDER)


def _is_record(name: str) -> bool:
    return name in RECORDS or _NUMBERED_RECORD.fullmatch(name) is not None


def _in_order(place: AttemptPlace) -> tuple[tuple[int, int], int]:
    step = step_at(place.step)
    return (step_order(step) if step else (0, 0)), place.number


def _belongs_to_a_step(path: str) -> bool:
    parts = path.split("/")
    return any(len(parts) > depth and step_at("/".join(parts[:depth])) for depth in (1, 3))


def _steps_with_manifest(sizes: Mapping[str, int]) -> list[Step]:
    found = (step_at(path.rpartition("/")[0]) for path in sizes if path.endswith("/manifest.json"))
    return [step for step in found if step is not None]
