"""A Bradley–Terry model of people's preferences: it rates responses, and it is no policy.

P(chosen ≻ rejected) = σ(w·(e₁ − e₂) + b·(n₁ − n₂)), with e the responses' embeddings and n their
lengths: a logistic regression without intercept, so that exchanging two responses exchanges their
chances. People choose the longer of two responses more often than not, and an embedding knows
length, so a model of e alone would reward length by itself. This one is fitted *with* the
difference in length, which bears no penalty and takes what length explains, and rates *without* it.

R. Bradley and M. Terry, "Rank analysis of incomplete block designs", Biometrika 39, 1952.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selfie.errors import InvalidInput
from selfie.method.arrays import FloatArray, finite_vector, floats, within
from selfie.method.logspace import log_sigmoid, sigmoid
from selfie.method.statistics import accuracy, log_loss

FOLDS = 5
RIDGES = tuple(float(10 ** (power / 2)) for power in range(10, 1, -1))
"""Strengths that are tried, from 100,000 to 10: the strongest wins a draw."""

# Where length alone tells the chosen responses, its weight would grow without end: this holds it.
_HOLD = 0.01
_MAX_STEPS, _HALVINGS, _CONVERGED = 60, 30, 1e-10


@dataclass(frozen=True, eq=False)
class Comparisons:
    """n pairs: ``gaps`` [n, d] and ``lengths`` [n], of the chosen response less the other, and their prompts.

    ``gaps`` are of embeddings, ``lengths`` in tokens. `InvalidInput` unless all are finite and of one n.
    """

    gaps: FloatArray
    lengths: FloatArray
    prompts: Sequence[str]

    def __post_init__(self) -> None:
        if self.gaps.ndim != 2 or not self.gaps.size:
            raise InvalidInput("gaps", f"has shape {self.gaps.shape}", "give at least one pair, one per row")
        finite_vector("gaps", self.gaps.ravel())
        finite_vector("lengths", self.lengths)
        if not len(self.gaps) == len(self.lengths) == len(self.prompts):
            counts = f"{len(self.gaps)}, {len(self.lengths)} and {len(self.prompts)} items"
            raise InvalidInput("gaps, lengths and prompts", f"have {counts}", "give one of each per pair")

    def where(self, mask: NDArray[np.bool_]) -> "Comparisons":
        """The pairs of ``mask`` [n]."""
        chosen = [prompt for prompt, taken in zip(self.prompts, mask, strict=True) if taken]
        return Comparisons(self.gaps[mask], self.lengths[mask], chosen)


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """``weights`` [d]: log-odds per unit of embedding; ``length_weight``: per token, and never rated by.

    ``origin`` is taken off every rating, so that 0 is the middle of what it was fitted on.
    """

    weights: FloatArray
    length_weight: float
    ridge: float
    origin: float = 0.0

    def margins(self, gaps: FloatArray) -> FloatArray:
        """Log-odds that the first of two responses is preferred, at equal length: [n, d] to [n]."""
        return floats(floats(gaps) @ self.weights)

    def ratings(self, embeddings: FloatArray) -> FloatArray:
        """[n, d] to [n]; only differences between responses to one prompt mean anything."""
        return floats(self.margins(embeddings) - self.origin)

    def centred(self, embeddings: FloatArray) -> "BradleyTerry":
        """The same model, with 0 as the mean rating of these."""
        return replace(self, origin=float(self.margins(embeddings).mean()))


@dataclass(frozen=True)
class CrossValidation:
    """How a strength does on pairs of prompts that were left out of the fit.

    ``log_loss``, in nats, is of the model with length, by which the strength is chosen; ``accuracy``
    of the ratings without it, which is what they are used for.
    """

    ridge: float
    accuracy: float
    log_loss: float


def fit(pairs: Comparisons, *, ridge: float) -> BradleyTerry:
    """The model of highest likelihood less ½·``ridge``·‖w‖², with w per standard deviation of each gap.

    Gaps are scaled by their root mean square and not centred: their sign is what is to be learnt.
    """
    within("ridge", ridge, 1e-6, np.inf)
    scaled, scale = _scaled(pairs)
    return _as_model(_maximise(scaled, ridge, np.zeros(scaled.shape[1])), scale, ridge)


def choose_ridge(pairs: Comparisons) -> CrossValidation:
    """The strength of `RIDGES` with the lowest cross-validated log-loss; `InvalidInput` for one prompt alone.

    Folds are of whole prompts and by their digests alone: the same pairs are fitted alike in every
    run, so that runs of several random seeds are rated by one evaluator.
    """
    if len(set(pairs.prompts)) < 2:
        raise InvalidInput("prompts", "are all the same", "give pairs of several prompts")
    fold_of = _folds(pairs.prompts)
    folds = range(fold_of.max() + 1)
    whole, plain = (np.zeros((len(RIDGES), len(fold_of))) for _ in range(2))
    for fold in folds:
        left_out = fold_of == fold
        path = _path(pairs.where(~left_out))
        rest = pairs.where(left_out)
        for place, model in enumerate(path):
            plain[place, left_out] = model.margins(rest.gaps)
            whole[place, left_out] = plain[place, left_out] + model.length_weight * rest.lengths
    losses = [log_loss(margins) for margins in whole]
    best = int(np.argmin(losses))
    return CrossValidation(RIDGES[best], accuracy(plain[best]).value, losses[best])


def _path(pairs: Comparisons) -> list[BradleyTerry]:
    """A model for each strength; each starts where the one before, which is stronger, has ended."""
    scaled, scale = _scaled(pairs)
    found, models = np.zeros(scaled.shape[1]), []
    for ridge in RIDGES:
        found = _maximise(scaled, ridge, found)
        models.append(_as_model(found, scale, ridge))
    return models


def _folds(prompts: Sequence[str]) -> NDArray[np.intp]:
    ranked = sorted(set(prompts), key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
    fold = {prompt: rank % FOLDS for rank, prompt in enumerate(ranked)}
    return np.array([fold[prompt] for prompt in prompts], dtype=np.intp)


def _scaled(pairs: Comparisons) -> tuple[FloatArray, FloatArray]:
    """Columns [n, d + 1], length last, each over its root mean square; a column of zeros stays one."""
    columns = np.column_stack([pairs.gaps, pairs.lengths])
    scale = np.sqrt((columns**2).mean(axis=0))
    scale[scale == 0.0] = 1.0
    return floats(columns / scale), floats(scale)


def _as_model(found: FloatArray, scale: FloatArray, ridge: float) -> BradleyTerry:
    weights = found / scale
    return BradleyTerry(floats(weights[:-1]), float(weights[-1]), ridge)


def _maximise(columns: FloatArray, ridge: float, start: FloatArray) -> FloatArray:
    """Weights [d + 1]: Newton's method on a concave function; a step that leads down is halved."""
    penalty = np.full(columns.shape[1], ridge)
    penalty[-1] = _HOLD
    found, height = start, _objective(start, columns, penalty)
    for _ in range(_MAX_STEPS):
        missed = sigmoid(-(columns @ found))
        slope = missed @ columns - penalty * found
        curve = (columns * (missed * (1.0 - missed))[:, np.newaxis]).T @ columns
        step = np.linalg.solve(curve + np.diag(penalty), slope)
        if np.abs(step).max() < _CONVERGED:
            break
        for _ in range(_HALVINGS):
            reached = _objective(found + step, columns, penalty)
            if reached >= height - 1e-12 * abs(height):
                break
            step = step / 2
        found, height = floats(found + step), reached
    return found


def _objective(found: FloatArray, columns: FloatArray, penalty: FloatArray) -> float:
    return float(log_sigmoid(columns @ found).sum() - (penalty * found**2).sum() / 2)
