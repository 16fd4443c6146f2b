"""Which labels are taken to be noisy: before training by the judge, during training by a threshold.

Two readings of the threshold exist. `OnlineThreshold` is the sound one: fixed for one optimizer
step, from the pairs of all ranks in earlier steps, so that a decision does not depend on how a
step was cut into micro-batches. `ParityThreshold` does what the released code of the paper
(arXiv 2406.04412) does, for reproduction.

Both compare the β-scaled margin of the extrapolated model. At the start of a round that margin is
0 for every pair, hence the warm-up.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from selfie.errors import FailedPrecondition
from selfie.method.arrays import BoolArray, FloatArray, filled_vector, finite_vector, same_shape, within
from selfie.method.choices import ThresholdReading
from selfie.method.rewards import confidence, preference_probability

LARGEST_DEFAULT_WINDOW = 512
PARITY_MEANS = 50


def default_window(pairs: int) -> int:
    """Pairs that a threshold looks back on by default, in a round of so many pairs."""
    return max(1, min(LARGEST_DEFAULT_WINDOW, pairs // 4))


def warmup_steps(total_steps: int, *, percent: float) -> int:
    """Optimizer steps, from the first one, in which no pair is taken to be noisy.

    Those whose number, counted from 0, lies below ``percent`` of ``total_steps``.
    """
    return math.ceil(total_steps * within("warmup_percent", percent, 0.0, 100.0) / 100.0)


def quantile_threshold(values: ArrayLike, percent: float) -> float:
    """The value below which ``percent`` of ``values`` lie, interpolated linearly.

    `InvalidInput` on an empty list, a value that is not finite, or a percentage outside 0 to 100.
    """
    share = within("noisy_percent", percent, 0.0, 100.0) / 100.0
    return float(np.quantile(filled_vector("values", values), share))


@dataclass(frozen=True, eq=False)
class Suspicions:
    """Labels of self-made pairs that the judge's own numbers cast doubt on; arrays of shape [n]."""

    disagreement: BoolArray
    """The extrapolated judge prefers the other response."""
    low_confidence: BoolArray
    """The extrapolated judge's confidence lies below `threshold`."""
    threshold: float

    @property
    def noisy(self) -> BoolArray:
        """Suspected for either reason."""
        return self.disagreement | self.low_confidence


def suspects(margins: ArrayLike, extrapolated_margins: ArrayLike, *, noisy_percent: float) -> Suspicions:
    """Suspect pairs before training, from both margins of each pair, shape [n] with n ≥ 1.

    The threshold is the ``noisy_percent`` quantile of the confidence over these pairs: that of the
    extrapolated judge, which decides during training too. A margin of 0 agrees with either label.
    """
    plain = filled_vector("margins", margins)
    extrapolated = filled_vector("extrapolated_margins", extrapolated_margins)
    same_shape("extrapolated_margins", extrapolated, plain)
    sureness = confidence(preference_probability(extrapolated))
    threshold = quantile_threshold(sureness, noisy_percent)
    opposed = np.sign(plain) * np.sign(extrapolated) < 0
    return Suspicions(disagreement=opposed, low_confidence=sureness < threshold, threshold=threshold)


class OnlineThreshold:
    """The ``quantile`` reading: low extrapolated margins, against those of earlier steps.

    For every optimizer step: `decide` for any part of its pairs, in any order and as often as
    needed, then `push` once with the margins of all its pairs on all ranks. The threshold is the
    ``noisy_percent`` quantile over the latest whole steps that hold at least ``window`` pairs
    between them. It is None, and nothing is noisy, in the first ``warmup_steps`` steps, until
    ``window`` pairs were seen, and throughout where ``noisy_percent`` is 0.
    """

    reading: ThresholdReading = "quantile"

    def __init__(self, *, noisy_percent: float, window: int, warmup_steps: int) -> None:
        self.noisy_percent = within("noisy_percent", noisy_percent, 0.0, 100.0)
        self.window = int(within("window", window, 1, math.inf))
        self.warmup_steps = int(within("warmup_steps", warmup_steps, 0, math.inf))
        self.steps = 0
        """Optimizer steps pushed."""
        self.seen = 0
        """Pairs pushed."""
        self.flagged = 0
        """Pairs pushed that were noisy in their own step."""
        self.threshold: float | None = None
        self._recent: deque[FloatArray] = deque()

    def decide(self, margins: ArrayLike) -> BoolArray:
        """True for each pair of the current step whose label is taken to be noisy; shape [n]."""
        values = finite_vector("margins", margins)
        if self.threshold is None:
            return np.zeros(values.shape, dtype=np.bool_)
        return values < self.threshold

    def push(self, margins: ArrayLike) -> None:
        """End the current step: ``margins`` of all its pairs on all ranks, shape [n]."""
        values = finite_vector("margins", margins)
        self.flagged += int(self.decide(values).sum())
        self.seen += values.size
        self.steps += 1
        self._recent.append(values.copy())
        while self._held() - self._recent[0].size >= self.window:
            self._recent.popleft()
        self._renew()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as JSON values; floats survive JSON exactly."""
        recent = [step.tolist() for step in self._recent]
        return self._settings() | _counts(self) | {"recent": recent}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`; `FailedPrecondition` if it was made under other settings."""
        _require_settings(self._settings(), state)
        self.steps, self.seen, self.flagged = state["steps"], state["seen"], state["flagged"]
        self._recent = deque(finite_vector("recent", step) for step in state["recent"])
        self._renew()

    def _held(self) -> int:
        return sum(step.size for step in self._recent)

    def _renew(self) -> None:
        ready = self.steps >= self.warmup_steps and self._held() >= self.window
        if ready and self.noisy_percent > 0:
            self.threshold = quantile_threshold(np.concatenate(self._recent), self.noisy_percent)
        else:
            self.threshold = None

    def _settings(self) -> dict[str, Any]:
        return {
            "reading": self.reading,
            "noisyPercent": self.noisy_percent,
            "window": self.window,
            "warmupSteps": self.warmup_steps,
        }


class ParityThreshold:
    """The ``parity`` reading: as the released code decides, separately on every rank.

    For every micro-batch of this rank: `decide`, then `push` with its margins; `end_step` after
    each optimizer step. The threshold is the mean of two neighbouring values among the last 50
    micro-batch mean margins in ascending order (the sixth and seventh at 10 %), and 0 until 50
    are recorded; a pair is noisy if its margin does not exceed it and the warm-up is over.
    """

    reading: ThresholdReading = "parity"

    def __init__(self, *, noisy_percent: float, warmup_steps: int) -> None:
        self.noisy_percent = within("noisy_percent", noisy_percent, 0.0, 97.0)
        self.warmup_steps = int(within("warmup_steps", warmup_steps, 0, math.inf))
        self.steps = 0
        """Optimizer steps ended."""
        self.seen = 0
        """Pairs of this rank pushed."""
        self.flagged = 0
        """Pairs of this rank that were noisy."""
        self.threshold = 0.0
        self._means: deque[float] = deque(maxlen=PARITY_MEANS)

    def decide(self, margins: ArrayLike) -> BoolArray:
        """True for each pair of the current micro-batch taken to be noisy; shape [n]."""
        values = finite_vector("margins", margins)
        if self.steps < self.warmup_steps:
            return np.zeros(values.shape, dtype=np.bool_)
        return values <= self.threshold

    def push(self, margins: ArrayLike) -> None:
        """End the current micro-batch of this rank: its ``margins``, shape [n] with n ≥ 1."""
        values = filled_vector("margins", margins)
        self.flagged += int(self.decide(values).sum())
        self.seen += values.size
        self._means.append(float(values.mean()))
        self._renew()

    def end_step(self) -> None:
        """End the current optimizer step."""
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything this rank needs to go on, as JSON values."""
        return self._settings() | _counts(self) | {"means": list(self._means)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`; `FailedPrecondition` if it was made under other settings."""
        _require_settings(self._settings(), state)
        self.steps, self.seen, self.flagged = state["steps"], state["seen"], state["flagged"]
        self._means = deque(state["means"], maxlen=PARITY_MEANS)
        self._renew()

    def _renew(self) -> None:
        if len(self._means) == PARITY_MEANS:
            ascending = sorted(self._means)
            below = int(PARITY_MEANS * self.noisy_percent / 100.0)
            self.threshold = (ascending[below] + ascending[below + 1]) / 2.0
        else:
            self.threshold = 0.0

    def _settings(self) -> dict[str, Any]:
        return {
            "reading": self.reading,
            "noisyPercent": self.noisy_percent,
            "warmupSteps": self.warmup_steps,
        }


def _counts(threshold: OnlineThreshold | ParityThreshold) -> dict[str, Any]:
    return {"steps": threshold.steps, "seen": threshold.seen, "flagged": threshold.flagged}


def _require_settings(settings: dict[str, Any], state: Mapping[str, Any]) -> None:
    differing = sorted(name for name in settings if state.get(name) != settings[name])
    if differing:
        raise FailedPrecondition(
            "ThresholdSettingsChanged",
            f"the saved threshold was made with other settings of {', '.join(differing)}",
        )
