"""Subsets of held-out pairs on which length cannot pass for judgement."""

import numpy as np
from numpy.typing import ArrayLike

from selfie.method.arrays import BoolArray, finite_vector, same_shape


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
