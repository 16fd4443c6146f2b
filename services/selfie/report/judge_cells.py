"""What is said of a judge in a table's cell: on parts of the pairs, and against other judges."""

from collections.abc import Callable

from selfie.method.judgements import JudgeFigures
from selfie.method.statistics import wilson_interval
from selfie.method.subsets import PartName
from selfie.report.cells import NOTHING, Cell, percent, points, share, split
from selfie.report.comparisons import Comparison
from selfie.report.facts import RoundFacts
from selfie.report.heldout import Reading, RivalName


def with_interval(name: str) -> Cell:
    def cell(facts: RoundFacts) -> str:
        value, low, high = (
            facts.measure("evaluate-heldout", f"{name}{end}") for end in ("", "_low", "_high")
        )
        if value is None or low is None or high is None:
            return percent(value)
        return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"

    return cell


def share_of_part(name: str) -> Cell:
    """The accuracy on a part of the held-out pairs as its scorer published it."""

    def cell(facts: RoundFacts) -> str:
        value, n = (facts.measure("evaluate-heldout", f"{kind}_{name}") for kind in ("accuracy", "n"))
        if value is None or not n:
            return NOTHING
        return share(wilson_interval(min(value * n, n), int(n)))

    return cell


def judge_figure(reading: Reading, told: Callable[[JudgeFigures], str]) -> Cell:
    """One figure of the judge, from its rows."""
    return lambda facts: told(facts.judge.figures[reading]) if facts.judge else NOTHING


def accuracy_on(reading: Reading, part: PartName) -> Cell:
    return judge_figure(reading, lambda figures: share(figures.accuracy.get(part)))


def against_rival(reading: Reading, rival: RivalName) -> Cell:
    def cell(facts: RoundFacts) -> str:
        if facts.judge is None:
            return NOTHING
        found = facts.judge.rivals[reading][rival]
        return f"{points(found.accuracy)}, {split(found)}"

    return cell


def comparison(reading: Reading, told: Callable[[Comparison], str]) -> Cell:
    """What is said of the comparison with the seed."""

    def cell(facts: RoundFacts) -> str:
        found = next((each for each in facts.comparisons if each.reading == reading), None)
        return NOTHING if found is None else told(found)

    return cell


def against_seed(reading: Reading, part: PartName = "all") -> Cell:
    def told(found: Comparison) -> str:
        there = found.parts.get(part)
        return NOTHING if there is None else f"{points(there.accuracy)}, {split(there)}"

    return comparison(reading, told)
