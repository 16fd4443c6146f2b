"""The table over seeds."""

from collections.abc import Sequence

from selfie.compare.shape import GroupEntry, SeedEntry
from selfie.compare.wording import place, points, verdict
from selfie.method.statistics import McNemar
from selfie.report.cells import NOTHING, p_value, percent
from selfie.report.tables import Table

Line = tuple[str, str, Sequence[str]]


def over_seeds_table(groups: Sequence[GroupEntry]) -> Table:
    """A row for every round of a group, in both readings: each seed, and the mean; empty without a group."""
    return Table(
        "Runs that differ in their random seed alone",
        ["each seed", "mean\naccuracy", "mean\npoints", "Student's p\nafter Holm\nsign test", "verdict"],
        [_line(entry) for entry in groups],
        note="Means have Student's interval over seeds. A verdict is one where that interval leaves 0 out, "
        "and his p after Holm and the sign test's are below 0.05.",
    )


def _line(entry: GroupEntry) -> Line:
    against = f"\nagainst {entry.against}" if entry.against else ""
    each = "\n".join(_seed(seed) for seed in entry.seeds)
    return place(entry.group, entry.round), f"{entry.reading}{against}", [each, *_mean(entry)]


def _seed(seed: SeedEntry) -> str:
    gain = "" if seed.difference is None else f", {100 * seed.difference:+.1f}"
    return f"{seed.random_seed}: {percent(seed.accuracy)}{gain}"


def _mean(entry: GroupEntry) -> list[str]:
    mean = entry.mean
    if mean is None:
        return [NOTHING] * 4
    share = mean.accuracy
    accuracy = f"{percent(share.value)}\n[{100 * share.low:.1f}, {100 * share.high:.1f}]"
    if mean.difference is None or mean.sign is None or mean.p_value is None:
        return [accuracy, *[NOTHING] * 3]
    adjusted = NOTHING if mean.adjusted_p is None else p_value(mean.adjusted_p)
    return [
        accuracy,
        points(mean.difference),
        f"{p_value(mean.p_value)}\n{adjusted}\n{_sign(mean.sign)}",
        verdict(entry.verdict or NOTHING),
    ]


def _sign(found: McNemar) -> str:
    return f"{found.first_only} : {found.second_only}, {p_value(found.p_value)}"
