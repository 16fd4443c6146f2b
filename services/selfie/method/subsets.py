"""Parts of the held-out pairs: those that choose nothing, and those on which length is no judgement."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from selfie.method.arrays import BoolArray, finite_vector, same_shape

PartName: TypeAlias = Literal["all", "report", "lengthMatched", "chosenShorter"]
PARTS: tuple[PartName, ...] = ("all", "report", "lengthMatched", "chosenShorter")


def parts_of(
    pair_ids: Sequence[str], chosen_tokens: ArrayLike, rejected_tokens: ArrayLike
) -> Mapping[PartName, BoolArray]:
    """Which of n pairs each part has, shape [n] each; ``report`` is the half that chooses no round."""
    return {
        "all": np.ones(len(pair_ids), dtype=np.bool_),
        "report": np.array([not in_gate_half(pair_id) for pair_id in pair_ids], dtype=np.bool_),
        "lengthMatched": length_matched(chosen_tokens, rejected_tokens),
        "chosenShorter": chosen_is_shorter(chosen_tokens, rejected_tokens),
    }


def in_gate_half(pair_id: str) -> bool:
    """Whether a pair chooses the best round; the others report it. Half of all, by digest."""
    return hashlib.sha256(pair_id.encode()).digest()[0] % 2 == 0


def length_matched(
    chosen_tokens: ArrayLike, rejected_tokens: ArrayLike, *, tolerance: float = 0.15
) -> BoolArray:
    """True where the two lengths differ by at most ``tolerance`` of the longer one; shape [n]."""
    chosen = finite_vector("chosen_tokens", chosen_tokens)
    rejected = finite_vector("rejected_tokens", rejected_tokens)
    same_shape("rejected_tokens", rejected, chosen)
    return np.abs(chosen - rejected) <= tolerance * np.maximum(chosen, rejected)


def chosen_is_shorter(chosen_tokens: ArrayLike, rejected_tokens: ArrayLike) -> BoolArray:
    """True where "prefer the longer" is wrong: the chosen response is the shorter; shape [n]."""
    chosen = finite_vector("chosen_tokens", chosen_tokens)
    rejected = finite_vector("rejected_tokens", rejected_tokens)
    same_shape("rejected_tokens", rejected, chosen)
    return chosen < rejected
