"""From margins to how often people agree: the one number that a margin has to be multiplied by.

The implicit reward's own probability, sigmoid(margin), is sure of itself in proportion to beta, which
says nothing about people. A slope fitted on pairs that people labelled does. There is no intercept:
which response comes first must not count.
"""

import numpy as np
from numpy.typing import ArrayLike

from selfie.errors import InvalidInput
from selfie.method.arrays import filled_vector
from selfie.method.logspace import sigmoid

_STEEPEST = 100.0
_HALVINGS = 100


def fitted_slope(margins: ArrayLike) -> float:
    """Slope a that makes sigmoid(a · margin) the likeliest for pairs of which people chose the first.

    ``margins`` are the chosen response's less the rejected one's, in any unit; the slope is in its
    inverse, and below 0 where people mostly disagree. Targets are (n + 1) / (n + 2) instead of 1
    (Platt 1999), so that a judge that is never wrong has a finite slope too. Raises `InvalidInput` where
    all margins are 0, or there are none.
    """
    values = filled_vector("margins", margins)
    scale = float(np.abs(values).mean())
    if scale == 0.0:
        raise InvalidInput("margins", "are all 0", "fit on pairs that the judge tells apart")
    scaled = values / scale
    target = (values.size + 1) / (values.size + 2)
    low, high = -_STEEPEST, _STEEPEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # The likelihood's derivative falls with the slope, and is 0 at the likeliest.
        if float((scaled * (target - sigmoid(middle * scaled))).sum()) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2 / scale
