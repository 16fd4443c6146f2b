"""How exactly scores are computed, and how far from the true value they may then be.

Margins between two responses of one model are small, so a judge that does not know its own error
labels noise. The bound is part of every answer, and margins inside it are ties. A mode is what a caller
asks for; which products the machine multiplies in for it is decided here, and told in every answer.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Mode: TypeAlias = Literal["exact", "balanced", "fast"]
AnyMode: TypeAlias = Literal["exact", "balanced", "fast", "auto"]
Products: TypeAlias = Literal["float32", "tf32", "bfloat16"]

EXACT: Final = "exact"
"""Float32 throughout, float64 sums over tokens, one attention kernel."""

AUTO: Final = "auto"
"""`fast`, and `exact` for the pairs that `fast` cannot tell apart surely: the labels are those of `exact`."""

_ERRORS = MappingProxyType({"float32": (5e-5, 4e-6), "tf32": (5e-2, 1e-3), "bfloat16": (0.8, 8e-3)})
"""By products: nats that a sum may be off by, and how many more for each token; see docs/performance.md.

Measured on SmolLM2-135M against float64 on the same ids of natural text. Another model is to be measured
again: `python bench/precision.py --policy X --reference Y`.
"""


def error_bound(tokens: int, *, lam: float = 0.0, products: Products = "float32") -> float:
    """Bound in nats of the error of a log-probability summed over ``tokens`` tokens.

    The error is that against float64 on the same weights and ids. The bound is linear in the tokens, as
    if all errors had one sign. With ``lam`` > 0 it is that of the extrapolated sum, whose logits are
    ``(1 + lam)`` times the policy's less ``lam`` times the reference's.
    """
    floor, per_token = _ERRORS[products]
    return (1.0 + 2.0 * lam) * (floor + per_token * tokens)


@dataclass(frozen=True)
class Arithmetic:
    """A mode, and what it comes to on a machine.

    ``products``: what the inputs of matrix products are rounded to. In bfloat16 their results are too; what
    all layers add to, norms, and log-probabilities are float32 at least.
    """

    mode: Mode
    products: Products

    def error_bound(self, tokens: int, *, lam: float = 0.0) -> float:
        """Bound in nats, as `error_bound` has it for these products."""
        return error_bound(tokens, lam=lam, products=self.products)


IN_FLOAT32 = Arithmetic(EXACT, "float32")


@dataclass(frozen=True)
class Machine:
    """What a device multiplies faster than float32."""

    tf32: bool = False
    bfloat16: bool = False


def arithmetic_of(mode: Mode, machine: Machine) -> Arithmetic:
    """The fastest products that the mode's bound allows and the machine has, else float32."""
    if mode == "fast" and machine.bfloat16:
        return Arithmetic(mode, "bfloat16")
    if mode != EXACT and machine.tf32:
        return Arithmetic(mode, "tf32")
    return Arithmetic(mode, "float32")
