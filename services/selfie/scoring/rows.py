"""What goes into the engine and what comes out of it, free of torch and of messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from selfie.method.extrapolation import extrapolated_logprob
from selfie.scoring.precision import EXACT, IN_FLOAT32, Arithmetic, Mode

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One response to one prompt, as token ids; neither is empty."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Length of prompt and response together."""
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True)
class Wanted:
    """What to measure beside the two log-probabilities, and how exactly.

    ``keep_prompts``: the prompts will be asked about again. ``weights`` is the key of the pair that scores;
    an empty one is that which the scorer was started with.
    """

    lambdas: tuple[float, ...] = ()
    divergence: bool = False
    mode: Mode = EXACT
    keep_prompts: bool = False
    weights: str = ""


@dataclass(frozen=True)
class PolicyTokens:
    """Log-probabilities of a row's response tokens under the policy, in nats, in float64: [tokens]."""

    policy_tokens: Floats

    @property
    def tokens(self) -> int:
        return len(self.policy_tokens)

    @cached_property
    def policy_logprob(self) -> float:
        return float(self.policy_tokens.sum())


@dataclass(frozen=True)
class RowScore(PolicyTokens):
    """Scores of one row, in nats, in float64; arrays have one entry per response token.

    ``log_z`` holds one sum over tokens for each lambda that was asked for. ``divergence`` is the
    exact KL(policy || reference) averaged over the response's positions.
    """

    reference_tokens: Floats
    log_z: tuple[float, ...] = ()
    divergence: float | None = None
    arithmetic: Arithmetic = IN_FLOAT32

    @cached_property
    def reference_logprob(self) -> float:
        return float(self.reference_tokens.sum())

    def extrapolated_logprob(self, index: int, lam: float) -> float:
        """Log-probability under the model extrapolated by ``lam``, which was asked for at ``index``."""
        value = extrapolated_logprob(self.policy_logprob, self.reference_logprob, self.log_z[index], lam)
        return float(value)


@dataclass(frozen=True)
class PolicyScore(PolicyTokens):
    """Scores of a row whose reference was scored before: its sum is taken over, in nats."""

    reference_logprob: float
    divergence: None = None
    arithmetic: Arithmetic = IN_FLOAT32

    def extrapolated_logprob(self, _index: int, _lam: float) -> float:
        """The policy's own: without the reference's distributions there is nothing to extrapolate by."""
        return self.policy_logprob


class Engine(Protocol):
    """Scores rows with a resident policy and reference; one caller at a time."""

    @property
    def policy_digest(self) -> str: ...

    @property
    def reference_digest(self) -> str: ...

    @property
    def max_tokens(self) -> int: ...

    @property
    def vocabulary(self) -> int: ...

    def arithmetic(self, mode: Mode) -> Arithmetic:
        """What a mode comes to on this machine."""
        ...

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Splits the rows' indices into batches of similar length that are computed at once."""
        ...

    def score(self, rows: Sequence[Row], wanted: Wanted) -> list[RowScore]:
        """Scores in the order of the rows."""
        ...

    def policy_tokens(self, rows: Sequence[Row], mode: Mode = EXACT) -> list[Floats]:
        """Log-probabilities of each row's response tokens under the policy alone."""
        ...
