"""Log-partition of the extrapolated model, which is all that the noise detector adds to a step.

With logits ``(1 + lambda) * policy - lambda * reference``, the extrapolated log-probability of a
token is ``(1 + lambda) log p - lambda log q - log Z``, where
``log Z = log sum_v p[v]^(1 + lambda) * q[v]^(-lambda)`` (arXiv 2406.04412). The first two terms are
there already; this module gives the third from the final hidden states, tile by tile, so that no
tensor of all positions by the whole vocabulary exists.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

ROWS = 256
COLUMNS = 8192


@dataclass(frozen=True)
class Head:
    """A language-model head: ``softcap * tanh(scale * (hidden @ weight.T + bias) / softcap)``.

    ``weight`` is [vocabulary, hidden], ``bias`` [vocabulary]; without ``softcap`` there is no tanh.
    """

    weight: Tensor
    bias: Tensor | None
    scale: float
    softcap: float | None

    @classmethod
    def of(cls, model: Any) -> "Head":
        """The head of a causal language model, read as TRL's fused head reads it."""
        projection, config = model.get_output_embeddings(), model.config.get_text_config()
        weight, bias = projection.weight, getattr(projection, "bias", None)
        if isinstance(weight, DTensor):
            weight, bias = weight.full_tensor(), None if bias is None else bias.full_tensor()
        return cls(weight, bias, _logit_scale(config), getattr(config, "final_logit_softcapping", None))

    def logits(self, hidden: Tensor, start: int) -> Tensor:
        """Float32 logits [rows, up to `COLUMNS`] of the vocabulary from ``start`` on."""
        columns = slice(start, start + COLUMNS)
        bias = None if self.bias is None else self.bias[columns]
        logits = torch.nn.functional.linear(hidden, self.weight[columns], bias).float() * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


@torch.no_grad()
def log_partition(
    policy: Tensor, reference: Tensor, lam: float, *, policy_head: Head, reference_head: Head
) -> Tensor:
    """The log Z of each position, in nats and float64, [positions].

    ``policy`` and ``reference`` are final hidden states [positions, hidden] of the same positions.
    Never below zero except by rounding: it is ``lam`` times a Rényi divergence.
    """
    pieces = [
        _rows(
            policy[start : start + ROWS],
            reference[start : start + ROWS],
            lam,
            heads=(policy_head, reference_head),
        )
        for start in range(0, len(policy), ROWS)
    ]
    return torch.cat(pieces) if pieces else policy.new_zeros(0, dtype=torch.float64)


def _rows(policy: Tensor, reference: Tensor, lam: float, *, heads: tuple[Head, Head]) -> Tensor:
    totals = torch.full((3, len(policy)), -torch.inf, dtype=torch.float64, device=policy.device)
    for start in range(0, len(heads[0].weight), COLUMNS):
        own, other = heads[0].logits(policy, start), heads[1].logits(reference, start)
        mixed = torch.lerp(other, own, 1 + lam)
        parts = [torch.logsumexp(logits, dim=-1).double() for logits in (mixed, own, other)]
        totals = torch.logaddexp(totals, torch.stack(parts))
    # In float64, because what is left is far smaller than the terms that cancel.
    return totals[0] - (1 + lam) * totals[1] + lam * totals[2]


def _logit_scale(config: Any) -> float:
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (scale := getattr(config, name, None)) is not None:
            return float(scale)
    scaling = getattr(config, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling) if config.model_type == "hyperclovax" else 1.0 / float(scaling)
