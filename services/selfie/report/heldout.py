"""Reads held-out pairs as plain arrays: each judge's own figures are made of them, and every comparison.

A judge's rewards are read in two ways, and in either of them a margin within the scorer's error is
a tie. Beside it stand the judges that cost nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from selfie.method.arrays import BoolArray, FloatArray, floats
from selfie.method.judgements import (
    Contrast,
    JudgeFigures,
    Judgement,
    coin,
    contrast,
    judge_figures,
    judgement_of,
    preferring,
)
from selfie.method.subsets import PartName, parts_of
from selfie.scoring.precision import error_bound
from selfie.scoring.rewards import RewardRule

Reading: TypeAlias = Literal["summed", "length-normalised"]
READINGS: tuple[Reading, ...] = ("summed", "length-normalised")
"""How rewards are read: over all tokens of a response, or per token."""

RivalName: TypeAlias = Literal["chance", "longer", "referenceSum", "referenceMean"]
RIVALS: tuple[RivalName, ...] = ("chance", "longer", "referenceSum", "referenceMean")
"""Judges that cost nothing: a coin, the longer response, the reference's likelihood in both readings."""


@dataclass(frozen=True, eq=False)
class HeldoutPairs:
    """n labelled pairs as one judge reads them; every array has shape [n].

    ``contents`` are digests of what a pair says by its name, in the order of the rows.
    """

    contents: Mapping[str, str]
    parts: Mapping[PartName, BoolArray]
    margins: Mapping[Reading, FloatArray]
    judgements: Mapping[Reading, Judgement]
    rivals: Mapping[RivalName, Judgement]
    own: Reading
    beta: float


@dataclass(frozen=True)
class JudgeFacts:
    """A judge on held-out pairs, by reading: its figures, and the contrasts with what costs nothing.

    ``own`` is the reading that the run goes by, ``beta`` the scale of its rewards: two log-losses
    are alike only where it is.
    """

    own: Reading
    beta: float
    figures: Mapping[Reading, JudgeFigures]
    rivals: Mapping[Reading, Mapping[RivalName, Contrast]]


def judge_facts(pairs: HeldoutPairs) -> JudgeFacts:
    """How right, sure and calibrated the judge is, and what it has over the free ones on all pairs."""
    judges = pairs.judgements
    return JudgeFacts(
        own=pairs.own,
        beta=pairs.beta,
        figures={
            reading: judge_figures(pairs.margins[reading], judges[reading], pairs.parts)
            for reading in READINGS
        },
        rivals={
            reading: {name: contrast(judges[reading], rival) for name, rival in pairs.rivals.items()}
            for reading in READINGS
        },
    )


def heldout_of(rows: pa.Table | None, *, without_reference: bool = False) -> HeldoutPairs | None:
    """The pairs by PAIR_SCHEMA as arrays; None without any.

    ``without_reference`` says that the rewards are the policy's own likelihood.
    """
    if rows is None or not rows.num_rows:
        return None
    own: Reading = "length-normalised" if rows["normalization"][0].as_py() == "mean" else "summed"
    rule = RewardRule(beta=rows["beta"][0].as_py(), without_reference=without_reference)
    chosen, rejected = column(rows, "chosen_tokens"), column(rows, "rejected_tokens")
    margins: dict[Reading, FloatArray] = {
        "summed": _summed(rows),
        "length-normalised": column(rows, "margin_mean"),
    }
    bands: dict[Reading, FloatArray] = {
        "summed": _bands(rule, chosen, rejected),
        "length-normalised": _bands(rule.per_token, chosen, rejected),
    }
    # What the run goes by is in the rows, with the bound that their scorer stood by.
    margins[own], bands[own] = column(rows, "margin"), column(rows, "tie_band")
    return HeldoutPairs(
        contents=_contents(rows),
        parts=parts_of(rows["pair_id"].to_pylist(), chosen, rejected),
        margins=margins,
        judgements={reading: judgement_of(margins[reading], bands[reading]) for reading in READINGS},
        rivals=_rivals(rows, chosen, rejected),
        own=own,
        beta=rule.beta,
    )


def column(table: pa.Table, name: str) -> FloatArray:
    """A column of numbers."""
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def content_digests(*columns: list[object]) -> list[str]:
    """A digest for each row of what it says."""
    return [
        hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        for values in zip(*columns, strict=True)
    ]


def _contents(rows: pa.Table) -> Mapping[str, str]:
    said = (rows[name].to_pylist() for name in ("messages", "chosen_text", "rejected_text"))
    return dict(zip(rows["pair_id"].to_pylist(), content_digests(*said), strict=True))


def _summed(rows: pa.Table) -> FloatArray:
    chosen, rejected = (
        column(rows, f"{side}_reward") * column(rows, f"{side}_tokens") for side in ("chosen", "rejected")
    )
    return floats(chosen - rejected)


def _bands(rule: RewardRule, chosen: FloatArray, rejected: FloatArray) -> FloatArray:
    return np.array([rule.tie_band((int(a), int(b))) for a, b in zip(chosen, rejected, strict=True)])


def _rivals(rows: pa.Table, chosen: FloatArray, rejected: FloatArray) -> Mapping[RivalName, Judgement]:
    first, second = column(rows, "chosen_reference_logprob"), column(rows, "rejected_reference_logprob")
    bound_of = np.vectorize(error_bound, otypes=[float])
    return {
        "chance": coin(rows.num_rows),
        "longer": preferring(chosen - rejected),
        "referenceSum": preferring(first - second, bound_of(chosen) + bound_of(rejected)),
        "referenceMean": preferring(
            first / chosen - second / rejected, bound_of(chosen) / chosen + bound_of(rejected) / rejected
        ),
    }
