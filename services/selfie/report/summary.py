"""Says in a few sentences what a run showed, no more than its figures allow."""

from selfie.report.cells import percent
from selfie.report.facts import Comparison, RoundFacts, RunFacts

SIGNIFICANT = 0.05


def summarise(run: RunFacts) -> list[str]:
    """Sentences, the most important first.

    A difference whose interval holds 0, or whose exact p is 0.05 or more, is called none.
    """
    if not run.rounds:
        return ["Nothing has been measured yet."]
    return [
        sentence
        for sentence in (
            _accuracy(run),
            *(_against_seed(facts) for facts in run.rounds[1:]),
            *(_quality(run, facts) for facts in run.rounds[1:]),
            _labels(run),
            _detector(run),
        )
        if sentence
    ]


def _accuracy(run: RunFacts) -> str:
    first = run.rounds[0]
    found = first.measure("evaluate-heldout", "accuracy")
    if found is None:
        return ""
    mean = first.measure("evaluate-heldout", "accuracy_mean")
    longer = first.measure("evaluate-heldout", "accuracy_longer")
    return (
        f"After the seed, the judge agrees with people on {percent(found)} of the held-out pairs "
        f"({percent(mean)} length-normalised); always choosing the longer response gets {percent(longer)}."
    )


def _against_seed(facts: RoundFacts) -> str:
    told = [f"{_change(comparison)} ({comparison.versus.split(', ')[1]})" for comparison in facts.comparisons]
    if not told:
        return ""
    return f"Round {facts.number} against the seed, on the same held-out pairs: {'; '.join(told)}."


def _change(comparison: Comparison) -> str:
    gain = comparison.difference
    points = f"{100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    # With few discordant pairs the bootstrap is surer of itself than the exact test.
    if gain.low <= 0 <= gain.high or comparison.mcnemar.p_value >= SIGNIFICANT:
        return f"no difference is established, {points}"
    return f"{'better' if gain.value > 0 else 'worse'}, {points}"


def _quality(run: RunFacts, facts: RoundFacts) -> str:
    if facts.quality is None or facts.quality.against_seed is None:
        return ""
    gain = facts.quality.against_seed
    verdict = "higher" if gain.low > 0 else "lower" if gain.high < 0 else "not established to differ"
    return (
        f"Round {facts.number}'s responses rate {gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}] in "
        f"{run.evaluator} against the seed policy's: {verdict}."
    )


def _labels(run: RunFacts) -> str:
    audited = [(facts.number, facts.audit) for facts in run.rounds if facts.audit]
    told = [
        f"{percent(audit.labels.value)} in round {number} "
        f"[{100 * audit.labels.low:.0f}, {100 * audit.labels.high:.0f}]"
        for number, audit in audited
    ]
    return f"Self-made labels that the evaluator agrees with: {', '.join(told)}." if told else ""


def _detector(run: RunFacts) -> str:
    if run.refinement != "online":
        return ""
    idle = [facts.number for facts in run.rounds if facts.measure("train", "z_ones") == 0]
    if not idle:
        return ""
    rounds = " and ".join(str(number) for number in idle)
    return f"The noise detector of the loss was idle in round {rounds}: no pair had z = 1."
