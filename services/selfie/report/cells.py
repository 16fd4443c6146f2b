"""How figures are written in a table's cells."""

from collections.abc import Callable

from selfie.filtering.rules import REASONS
from selfie.method.judgements import Contrast
from selfie.method.statistics import Difference, Proportion
from selfie.method.win_rates import WinRate
from selfie.report.agreements import Agreement
from selfie.report.facts import RoundFacts

NOTHING = "–"

Cell = Callable[[RoundFacts], str]


def percent(value: float | None) -> str:
    """A share as percent with one decimal."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def number(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of decimals."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def share(value: Proportion | None) -> str:
    """A proportion with its interval and the number of pairs behind it."""
    if value is None:
        return NOTHING
    return f"{100 * value.value:.1f} % [{100 * value.low:.0f}, {100 * value.high:.0f}] of {value.n}"


def estimate(value: Difference) -> str:
    """A mean with its interval."""
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def gain(value: Difference) -> str:
    """A mean difference with its interval."""
    return f"{value.value:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"


def agreement(found: Agreement) -> str:
    """What a fitted evaluator is worth, to stand beside what rests on it."""
    return (
        f"the evaluator agrees with people on {share(found.heldout)} held-out pairs; "
        f"prefer the longer: {percent(found.longer.value)}"
    )


def points(value: Difference) -> str:
    """A difference of shares in points, with its interval."""
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def signed(value: Difference | None) -> str:
    """A difference with its interval."""
    return NOTHING if value is None else f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def split(found: Contrast) -> str:
    """Pairs that only the first : only the second got right, and the exact p."""
    return f"{found.mcnemar.first_only} : {found.mcnemar.second_only}, {p_value(found.mcnemar.p_value)}"


def p_value(value: float) -> str:
    """Two decimals, three below 0.1, and never a zero."""
    if value < 0.001:
        return "p < 0.001"
    return f"p {value:.3f}" if value < 0.1 else f"p {value:.2f}"


def measure(step: str, name: str, digits: int = 2) -> Cell:
    return lambda facts: number(facts.measure(step, name), digits)


def percent_of(step: str, name: str) -> Cell:
    return lambda facts: percent(facts.measure(step, name))


def raw_wins(baseline: str) -> Cell:
    def cell(facts: RoundFacts) -> str:
        found = _wins(facts, baseline)
        return share(found.raw if found else None)

    return cell


def controlled_wins(baseline: str) -> Cell:
    """The rate at equal length, or why there is none."""

    def cell(facts: RoundFacts) -> str:
        found = _wins(facts, baseline)
        return controlled(found) if found else NOTHING

    return cell


def controlled(found: WinRate) -> str:
    """The win rate at equal length and what to beware of."""
    told = (share(found.controlled) if found.controlled else "", found.remark)
    return "; ".join(part for part in told if part)


def _wins(facts: RoundFacts, baseline: str) -> WinRate | None:
    return facts.quality.wins.get(baseline) if facts.quality else None


def quantiles(facts: RoundFacts) -> str:
    values = [facts.measure("score", f"margin_{name}") for name in ("q10", "q50", "q90")]
    return NOTHING if values[0] is None else " · ".join(number(value, 3) for value in values)


def removed(facts: RoundFacts) -> str:
    step = facts.steps.get("filter")
    if step is None:
        return NOTHING
    counts = {reason: step.counts.get(reason.replace("-", "_"), 0) for reason in REASONS}
    told = [f"{reason.replace('-', ' ')} {count}" for reason, count in counts.items() if count]
    return ", ".join(told) or "none"


def detector(facts: RoundFacts) -> str:
    ones = facts.measure("train", "z_ones")
    if ones is None:
        return NOTHING
    window, warmup, steps = (
        facts.measure("train", name) or 0 for name in ("window", "warmup_steps", "steps")
    )
    told = f"{ones:.0f} pairs; window {window:.0f}, warm-up {warmup:.0f} of {steps:.0f} steps"
    return told if facts.measure("train", "noisy_steps") != 0 else f"{told}; no threshold was ever in force"


def trained(facts: RoundFacts, name: str) -> float | None:
    return facts.measure("seed" if facts.number == 0 else "train", name)
