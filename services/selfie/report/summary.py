"""Says in a few sentences what a run showed, no more than its figures allow."""

from selfie.method.judgements import Contrast
from selfie.method.statistics import Proportion
from selfie.method.verdicts import Verdict, verdict_of
from selfie.report.cells import agreement, gain, percent, share
from selfie.report.comparisons import Comparison
from selfie.report.facts import RoundFacts, RunFacts


def summarise(run: RunFacts) -> list[str]:
    """Sentences, the most important first.

    A difference whose interval holds 0, or whose exact p is 0.05 or more after Holm's correction over
    all comparisons with the seed, is called none.
    """
    if not run.rounds:
        return ["Nothing has been measured yet."]
    return [
        sentence
        for sentence in (
            _accuracy(run),
            _best_round(run),
            *(_against_seed(facts) for facts in run.rounds[1:]),
            *(_quality(run, facts) for facts in run.rounds[1:]),
            *(_at_equal_length(run, facts) for facts in run.rounds[1:]),
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


def best_round(run: RunFacts) -> str:
    """What the best round's judge gets on the pairs that did not choose it; empty where all did."""
    best = _chosen(run)
    found = _on_report_half(best) if best else None
    return f", {share(found)} held-out pairs that did not choose it" if found else ""


def _best_round(run: RunFacts) -> str:
    best = _chosen(run)
    found = _on_report_half(best) if best else None
    if best is None or found is None:
        return ""
    name = "the seed" if best.number == 0 else f"round {best.number}"
    told = (
        f"The best round, chosen on one half of the held-out pairs, is {name}: on the other half its judge "
        f"agrees with people on {share(found)}."
    )
    mine = next((each for each in best.comparisons if best.judge and each.reading == best.judge.own), None)
    there = mine.parts.get("report") if mine else None
    if there is None:
        return told
    return f"{told} Against the seed, there: {_told(verdict_of(there, there.mcnemar.p_value), there)}."


def _chosen(run: RunFacts) -> RoundFacts | None:
    return next((facts for facts in run.rounds if facts.number == run.best_round), None)


def _on_report_half(facts: RoundFacts) -> Proportion | None:
    if facts.judge is None:
        return None
    accuracy = facts.judge.figures[facts.judge.own].accuracy
    half = accuracy.get("report")
    # Without a pair in the other half, it was chosen by these very ones.
    return half if half and half.n < accuracy["all"].n else None


def _against_seed(facts: RoundFacts) -> str:
    told = [f"{_change(comparison)} ({comparison.versus.split(', ')[1]})" for comparison in facts.comparisons]
    if not told:
        return ""
    return f"Round {facts.number} against the seed, on the same held-out pairs: {'; '.join(told)}."


def _change(comparison: Comparison) -> str:
    return _told(comparison.verdict, comparison.parts["all"])


def _told(verdict: Verdict, found: Contrast) -> str:
    said = "no difference is established" if verdict == "no difference established" else verdict
    points = found.accuracy
    return f"{said}, {100 * points.value:+.1f} points [{100 * points.low:+.1f}, {100 * points.high:+.1f}]"


def _quality(run: RunFacts, facts: RoundFacts) -> str:
    if facts.quality is None or facts.quality.against_seed is None:
        return ""
    found = facts.quality.against_seed
    verdict = "higher" if found.low > 0 else "lower" if found.high < 0 else "not established to differ"
    return (
        f"Round {facts.number}'s responses rate {gain(found)} in {run.evaluator} against the seed policy's: "
        f"{verdict}{_by_whom(run)}."
    )


def _at_equal_length(run: RunFacts, facts: RoundFacts) -> str:
    found = facts.quality.wins.get("seed") if facts.quality else None
    if found is None or found.controlled is None:
        return ""
    return (
        f"At equal length, round {facts.number}'s responses win {share(found.controlled)} prompts against "
        f"the seed policy's ({percent(found.raw.value)} as they are){_by_whom(run)}."
    )


def _by_whom(run: RunFacts) -> str:
    return f" ({agreement(run.agreement)})" if run.agreement else ""


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
