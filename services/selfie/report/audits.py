"""Holds what the policy preferred against an evaluator that is not the policy."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from selfie.method.oracles import EVALUATORS
from selfie.method.statistics import Proportion, wilson_interval
from selfie.report.facts import Floats, LabelAudit

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


def longer_share(kept: pa.Table | None) -> Proportion | None:
    """Share of pairs whose chosen response has more tokens; equal lengths count half. None without pairs."""
    if kept is None or not kept.num_rows:
        return None
    chosen, rejected = (kept[f"{side}_tokens"].to_numpy() for side in ("chosen", "rejected"))
    return wilson_interval(float((chosen > rejected).sum() + (chosen == rejected).sum() / 2), chosen.size)


def _gaps(rate: Evaluator, pairs: pa.Table) -> Floats:
    texts = zip(pairs["chosen_text"].to_pylist(), pairs["rejected_text"].to_pylist(), strict=True)
    return np.array([rate(chosen) - rate(rejected) for chosen, rejected in texts])


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
