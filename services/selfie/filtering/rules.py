"""The noise filter before training: pure rules over pairs that the judge has made.

First come rules about each pair by itself, which leave out what can teach nothing; every pair left
out has the one reason that was found first. Then the pairs that remain are held against each other:
the judge's least sure ones, and those whose label the extrapolated judge disagrees with, are
suspected to be noise (arXiv 2406.04412).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Literal

from selfie.errors import InvalidInput
from selfie.method.noise import suspects
from selfie.method.rewards import confidence, preference_probability

NoiseAction = Literal["smooth", "drop", "keep"]
CutPolicy = Literal["drop_cut_responses", "drop_cut_winners", "drop_both_cut", "keep"]

EMPTY = "empty"
IDENTICAL = "identical"
DUPLICATE = "duplicate"
CUT_WINNER = "cut-winner"
CUT_LOSER = "cut-loser"
BOTH_CUT = "both-cut"
TIE = "tie"
NOISE = "noise"
REASONS = (EMPTY, IDENTICAL, DUPLICATE, BOTH_CUT, CUT_WINNER, CUT_LOSER, TIE, NOISE)
"""Why a pair is left out, in the order in which the rules are asked."""

SUSPICIONS = ("low-confidence", "disagreement")
"""Why a label is taken to be noisy: the extrapolated judge is unsure, or would choose the other one."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The choices of the filter, with their defaults.

    ``noisy_percent`` of the pairs are suspected for their low confidence; ``smoothing`` is the weight
    that a noisy pair's opposite label gets when ``action`` is ``smooth``.
    """

    noisy_percent: float = 10.0
    smoothing: float = 0.1
    action: NoiseAction = "smooth"
    cut: CutPolicy = "drop_cut_responses"
    keep_ties: bool = False
    keep_duplicates: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A pair as the judge left it; margins are rewards of the chosen less those of the rejected.

    An empty ``prompt_digest`` is unknown: such a pair is no duplicate of any other.
    """

    id: str
    chosen_text: str
    rejected_text: str
    chosen_cut: bool
    rejected_cut: bool
    margin: float
    extrapolated_margin: float
    tie_band: float
    prompt_digest: str = ""

    @property
    def content(self) -> tuple[str, frozenset[str]]:
        """What makes another pair a duplicate of this one: prompt and both responses, in any order."""
        return self.prompt_digest, frozenset((self.chosen_text, self.rejected_text))


@dataclass(frozen=True, kw_only=True)
class Label:
    """What the filter says of one pair; ``soft_label`` is the probability that its label is right.

    ``reason`` is why it is left out, and empty for a pair that is kept. ``threshold`` is the
    extrapolated confidence below which a pair is suspected, the same for all.
    """

    id: str
    reason: str
    confidence: float
    extrapolated_confidence: float
    threshold: float
    noisy: bool
    suspicions: tuple[str, ...]
    soft_label: float

    @property
    def kept(self) -> bool:
        return not self.reason


def label_pairs(candidates: Sequence[Candidate], rules: Rules) -> list[Label]:
    """Labels all the pairs, in their order; InvalidInput if a margin is not a finite number.

    Suspicion is cast among the pairs that no rule left out, so that what is not trained on has no
    say in what is noise; without any of those the threshold is 0.
    """
    _refuse_infinite(candidates)
    reasons = _reasons(candidates, rules)
    passed = [index for index, reason in enumerate(reasons) if not reason]
    threshold, suspicions = _suspect([candidates[index] for index in passed], rules.noisy_percent)
    by_index = dict(zip(passed, suspicions, strict=True))
    return [
        _label(candidate, reasons[index], by_index.get(index, ()), rules, threshold=threshold)
        for index, candidate in enumerate(candidates)
    ]


def counts(labels: Sequence[Label]) -> dict[str, int]:
    """Pairs by outcome: ``kept``, ``noisy`` (kept or not) and why, and every reason for leaving one out."""
    by_reason = Counter(label.reason for label in labels)
    by_suspicion = Counter(suspicion for label in labels for suspicion in label.suspicions)
    found = {"pairs": len(labels), "kept": by_reason[""], "noisy": sum(label.noisy for label in labels)}
    found |= {suspicion: by_suspicion[suspicion] for suspicion in SUSPICIONS}
    found |= {reason: by_reason[reason] for reason in REASONS}
    return {name.replace("-", "_"): count for name, count in found.items()}


def measures(labels: Sequence[Label]) -> dict[str, float]:
    """Shares of the pairs, and the threshold; what has no basis is absent.

    ``noisy_share`` is of the pairs that no rule on single pairs left out; ``mean_confidence`` is
    over the pairs kept.
    """
    if not labels:
        return {}
    kept = [label.confidence for label in labels if label.kept]
    passed = [label for label in labels if label.reason in ("", NOISE)]
    found = {"kept_share": len(kept) / len(labels), "threshold": labels[0].threshold}
    if passed:
        found["noisy_share"] = sum(label.noisy for label in passed) / len(passed)
    if kept:
        found["mean_confidence"] = math.fsum(kept) / len(kept)
    return found


def _refuse_infinite(candidates: Sequence[Candidate]) -> None:
    for index, candidate in enumerate(candidates):
        for field in ("margin", "extrapolated_margin", "tie_band"):
            if not math.isfinite(value := getattr(candidate, field)):
                raise InvalidInput(f"pairs[{index}].{field}", f"is {value}", "give a finite number")


def _reasons(candidates: Sequence[Candidate], rules: Rules) -> list[str]:
    """For each pair the first rule that leaves it out, or nothing."""
    seen: set[tuple[str, frozenset[str]]] = set()
    found = []
    for candidate in candidates:
        duplicate = bool(candidate.prompt_digest) and candidate.content in seen
        seen.add(candidate.content)
        found.append(_reason(candidate, rules, duplicate=duplicate))
    return found


def _reason(candidate: Candidate, rules: Rules, *, duplicate: bool) -> str:
    both_cut = candidate.chosen_cut and candidate.rejected_cut
    left_out = {
        EMPTY: not candidate.chosen_text.strip() or not candidate.rejected_text.strip(),
        IDENTICAL: candidate.chosen_text == candidate.rejected_text,
        DUPLICATE: duplicate and not rules.keep_duplicates,
        BOTH_CUT: both_cut and rules.cut != "keep",
        CUT_WINNER: candidate.chosen_cut and rules.cut in ("drop_cut_responses", "drop_cut_winners"),
        CUT_LOSER: candidate.rejected_cut and rules.cut == "drop_cut_responses",
        TIE: abs(candidate.margin) <= candidate.tie_band and not rules.keep_ties,
    }
    return next((reason for reason, applies in left_out.items() if applies), "")


def _suspect(passed: Sequence[Candidate], noisy_percent: float) -> tuple[float, list[tuple[str, ...]]]:
    """The threshold, and for each pair why it is suspected, if it is."""
    if not passed:
        return 0.0, []
    found = suspects(
        [candidate.margin for candidate in passed],
        [candidate.extrapolated_margin for candidate in passed],
        noisy_percent=noisy_percent,
    )
    marks = zip(found.low_confidence, found.disagreement, strict=True)
    return found.threshold, [tuple(compress(SUSPICIONS, mark)) for mark in marks]


def _label(
    candidate: Candidate, reason: str, suspicions: tuple[str, ...], rules: Rules, *, threshold: float
) -> Label:
    noisy = bool(suspicions)
    return Label(
        id=candidate.id,
        reason=NOISE if noisy and rules.action == "drop" else reason,
        confidence=_sureness(candidate.margin),
        extrapolated_confidence=_sureness(candidate.extrapolated_margin),
        threshold=threshold,
        noisy=noisy,
        suspicions=suspicions,
        soft_label=1.0 - rules.smoothing if noisy and rules.action == "smooth" else 1.0,
    )


def _sureness(margin: float) -> float:
    return float(confidence(preference_probability(margin)))
