"""Array types of the method, and the checks that values pass before anything is counted on them.

A single NaN would otherwise turn into a silent "wrong" in an accuracy or a silent "sound" in a
threshold, so whatever is aggregated is checked here first.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfie.errors import InvalidInput

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]


def floats(values: ArrayLike) -> FloatArray:
    """``values`` in float64, of the same shape."""
    return np.asarray(values, dtype=np.float64)


def finite_vector(field: str, values: ArrayLike) -> FloatArray:
    """``values`` as a float64 vector, shape [n]; `InvalidInput` unless all are finite."""
    vector = floats(values)
    if vector.ndim != 1:
        raise InvalidInput(field, f"has {vector.ndim} dimensions", "give a flat list of numbers")
    if not np.isfinite(vector).all():
        raise InvalidInput(field, "holds a value that is not finite", "find what produced it")
    return vector


def filled_vector(field: str, values: ArrayLike) -> FloatArray:
    """Like `finite_vector`, and refuses an empty one."""
    vector = finite_vector(field, values)
    if vector.size == 0:
        raise InvalidInput(field, "is empty", "give at least one value")
    return vector


def same_shape(field: str, values: FloatArray, other: FloatArray) -> None:
    """`InvalidInput` unless both have one shape; broadcasting would hide a mistake."""
    if values.shape != other.shape:
        raise InvalidInput(
            field, f"has shape {values.shape} beside {other.shape}", "give both one value per item"
        )


def within(field: str, value: float, low: float, high: float) -> float:
    """``value`` as a float if it lies in [low, high], else `InvalidInput`."""
    if not low <= value <= high:
        raise InvalidInput(field, f"is {value}", f"choose a value from {low} to {high}")
    return float(value)
