"""The stable shape of `selfie compare -o json`: these records, with camelCase names; docs/compare.md.

Shares are from 0 to 1, log-losses and divergences in nats. Every interval is one of 95 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from selfie.method.statistics import Difference, McNemar, Proportion
from selfie.method.subsets import PartName
from selfie.method.verdicts import Verdict
from selfie.method.win_rates import WinRate
from selfie.report.agreements import Agreement
from selfie.report.heldout import Reading, RivalName

SCHEMA_VERSION = 1
"""Grows when a name or its meaning changes; what is only added does not make it grow."""


@dataclass(frozen=True)
class Place:
    """A round of a run; round 0 is the seed."""

    run: str
    round: int


@dataclass(frozen=True)
class RunEntry:
    """A run as it was found. ``group`` is the name of those that differ in their random seed alone.

    ``agreement`` is what its evaluator is worth, where that was fitted.
    """

    name: str
    uri: str
    state: str
    random_seed: int
    group: str | None
    best_round: int | None
    rounds: int
    reading: Reading
    beta: float
    evaluator: str
    agreement: Agreement | None


@dataclass(frozen=True)
class FieldDifference:
    """A field of the specification that is not the same in all runs; absent where it is not set."""

    field: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class MatchingEntry:
    """Which of a run's held-out pairs the baseline has too; ``altered`` have one name and two contents."""

    run: str
    matched: int
    only_here: tuple[str, ...]
    only_baseline: tuple[str, ...]
    altered: tuple[str, ...]


@dataclass(frozen=True)
class JudgedContrast:
    """The first judge less the second; ``adjusted_p`` is McNemar's, by Holm over its family."""

    accuracy: Difference
    mcnemar: McNemar
    log_loss: Difference | None
    adjusted_p: float
    verdict: Verdict


@dataclass(frozen=True)
class ReadingEntry:
    """A round's judge in one reading; a part without pairs is absent. A rival's family is all judges here."""

    reading: Reading
    accuracy: Mapping[PartName, Proportion]
    log_loss: float
    calibration_error: float
    mean_margin: float
    rivals: Mapping[RivalName, JudgedContrast]


@dataclass(frozen=True)
class RoundEntry:
    """A round that has judged its held-out pairs; the last three are of its responses, where measured."""

    run: str
    round: int
    is_best: bool
    readings: tuple[ReadingEntry, ...]
    divergence: float | None
    mean_tokens: float | None
    finished_share: float | None


@dataclass(frozen=True)
class LabelsEntry:
    """The labels that a round learned from; ``right`` is for an oracle to say, and else None.

    ``longer`` is the share of labels that prefer the response with more tokens.
    """

    run: str
    round: int
    right: Proportion | None
    longer: Proportion


@dataclass(frozen=True)
class ContrastEntry:
    """A round's judge against the baseline's; a part's family is all contrasts on that part."""

    run: str
    round: int
    reading: Reading
    parts: Mapping[PartName, JudgedContrast]


@dataclass(frozen=True)
class WinEntry:
    """A round's responses against others; ``against`` is ``baseline``, ``seed`` or ``initial``."""

    run: str
    round: int
    against: str
    wins: WinRate


@dataclass(frozen=True)
class SeedEntry:
    """One seed's accuracy on all its pairs, and what it has over the baseline's on those they share."""

    run: str
    random_seed: int
    accuracy: float
    difference: float | None


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds with Student's interval; ``adjusted_p`` is None with too few of them for a claim."""

    accuracy: Difference
    difference: Difference | None
    p_value: float | None
    adjusted_p: float | None
    sign: McNemar | None


@dataclass(frozen=True)
class GroupEntry:
    """A round over the seeds of a group; ``against`` says what each seed is held against."""

    group: str
    round: int
    reading: Reading
    against: str
    seeds: tuple[SeedEntry, ...]
    mean: SeedMean | None
    verdict: Verdict | None


@dataclass(frozen=True)
class ComparedRuns:
    """All of it."""

    baseline: Place
    runs: tuple[RunEntry, ...]
    differences: tuple[FieldDifference, ...]
    matchings: tuple[MatchingEntry, ...]
    rounds: tuple[RoundEntry, ...]
    labels: tuple[LabelsEntry, ...]
    contrasts: tuple[ContrastEntry, ...]
    wins: tuple[WinEntry, ...]
    groups: tuple[GroupEntry, ...]
    remarks: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION


def object_of(value: object) -> Any:
    """Plain data for JSON: records as objects with camelCase names, keys of mappings as they are."""
    if is_dataclass(value):
        return {to_camel(each.name): object_of(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: object_of(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [object_of(each) for each in value]
    return value
