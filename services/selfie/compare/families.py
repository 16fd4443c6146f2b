"""Tests that stand together in one table, adjusted together."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from selfie.compare.shape import JudgedContrast
from selfie.method.judgements import Contrast
from selfie.method.verdicts import holm, verdict_of

_K = TypeVar("_K", bound=str)


def judged_together(rows: Sequence[Mapping[_K, Contrast]]) -> list[dict[_K, JudgedContrast]]:
    """Every row's contrasts with their verdicts; those of one key are a family, over all rows.

    A key is a part of the pairs, or a rival: the reader of one column sees that column's tests.
    """
    keys = {key: None for row in rows for key in row}
    judged: list[dict[_K, JudgedContrast]] = [{} for _ in rows]
    for key in keys:
        members = [(place, row[key]) for place, row in enumerate(rows) if key in row]
        p_values = holm([found.mcnemar.p_value for _, found in members])
        for (place, found), p_value in zip(members, p_values, strict=True):
            judged[place][key] = JudgedContrast(
                accuracy=found.accuracy,
                mcnemar=found.mcnemar,
                log_loss=found.log_loss,
                adjusted_p=p_value,
                verdict=verdict_of(found, p_value),
            )
    return judged
