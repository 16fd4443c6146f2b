"""Holds what the policy made and preferred against an evaluator that is not the policy."""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from selfie.method.oracles import EVALUATORS
from selfie.method.statistics import Difference, Proportion, paired_bootstrap, wilson_interval
from selfie.report.facts import Floats, LabelAudit, Quality

Evaluator = Callable[[str], float]


def audit_labels(evaluator: str, kept: pa.Table | None, noise: pa.Table | None) -> LabelAudit | None:
    """How right the labels of kept pairs are; pairs that the evaluator finds equal are left out.

    ``noise`` has the pairs that the trainer saw (pair_id) and how often it took each to be noisy
    (times_noisy); None where no detector ran.
    """
    if evaluator not in EVALUATORS or kept is None or not kept.num_rows:
        return None
    gaps = _gaps(EVALUATORS[evaluator], kept)
    decided = np.isfinite(gaps) & (gaps != 0)
    if not decided.any():
        return None
    wrong = (gaps < 0)[decided]
    suspected = np.asarray(kept["noisy"].to_numpy(zero_copy_only=False), dtype=bool)[decided]
    trained = _trained_noisy(kept, noise)
    flagged = None if trained is None else trained[decided]
    return LabelAudit(
        labels=wilson_interval(float((~wrong).sum()), wrong.size),
        wrong_if_noisy=_share(wrong[suspected]),
        wrong_otherwise=_share(wrong[~suspected]),
        wrong_if_trained_noisy=None if flagged is None else _share(wrong[flagged]),
        wrong_if_trained_clean=None if flagged is None else _share(wrong[~flagged]),
    )


def rate_responses(evaluator: str, responses: pa.Table | None, seed: pa.Table | None) -> Quality | None:
    """Mean rating of the responses, and against the seed policy's on the same prompts.

    The interval of the mean is a bootstrap over prompts' ratings; so is that of the difference.
    """
    if evaluator not in EVALUATORS or responses is None:
        return None
    rate = EVALUATORS[evaluator]
    mine = _ratings(rate, responses)
    values = np.array([value for value in mine.values() if math.isfinite(value)])
    if not values.size:
        return None
    mean = paired_bootstrap(values, np.zeros_like(values), seed=0)
    theirs = _ratings(rate, seed) if seed is not None else {}
    both = [key for key in mine if math.isfinite(mine[key]) and math.isfinite(theirs.get(key, math.nan))]
    if not both:
        return Quality(mean=mean, against_seed=None, wins=None)
    ours, others = np.array([mine[key] for key in both]), np.array([theirs[key] for key in both])
    return Quality(mean, _difference(ours, others), _wins(ours, others))


def _difference(ours: Floats, others: Floats) -> Difference:
    return paired_bootstrap(ours, others, seed=0)


def _wins(ours: Floats, others: Floats) -> Proportion:
    won = np.where(ours == others, 0.5, ours > others)
    return wilson_interval(float(won.sum()), won.size)


def _gaps(rate: Evaluator, pairs: pa.Table) -> Floats:
    texts = zip(pairs["chosen_text"].to_pylist(), pairs["rejected_text"].to_pylist(), strict=True)
    return np.array([rate(chosen) - rate(rejected) for chosen, rejected in texts])


def _ratings(rate: Evaluator, responses: pa.Table) -> dict[tuple[str, int], float]:
    columns = (responses[name].to_pylist() for name in ("prompt_id", "sample_index", "response_text"))
    return {(prompt, index): rate(text) for prompt, index, text in zip(*columns, strict=True)}


def _trained_noisy(
    kept: pa.Table, noise: pa.Table | None
) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    if noise is None:
        return None
    times = dict(zip(noise["pair_id"].to_pylist(), noise["times_noisy"].to_pylist(), strict=True))
    if not any(times.values()):
        return None
    return np.array([bool(times.get(pair_id, 0)) for pair_id in kept["pair_id"].to_pylist()])


def _share(wrong: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Proportion | None:
    return wilson_interval(float(wrong.sum()), wrong.size) if wrong.size else None
