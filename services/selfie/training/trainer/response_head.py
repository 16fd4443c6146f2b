"""The language-model head of a training step on CPUs: response positions only, and nothing but their loss.

Without Triton, TRL puts its fused head on every position, prompt and padding too, in tiles far
larger than a cache, and takes statistics of every logit for its own log. This one gives the same
log-probabilities and gradients (a test compares the losses) for a part of the time and memory.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import FusedCausalLMOutput

from selfie.training.trainer.log_partition import Head

ROWS = 512
COLUMNS = 4096


class ResponseLogProbs(torch.autograd.Function):
    """log softmax(hidden @ weight.T)[target] of each position, [positions]; float32 throughout."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        buffer = _buffer(hidden, weight)
        normaliser = torch.full_like(hidden[:, 0], -torch.inf)
        target = torch.empty_like(normaliser)
        for rows, columns in _tiles(len(hidden), len(weight)):
            logits = _logits(hidden[rows], weight[columns], buffer)
            here = _targets(targets[rows], columns)
            target[rows][here[0]] = logits[here]
            normaliser[rows] = torch.logaddexp(normaliser[rows], _log_sum_exp(logits))
        ctx.save_for_backward(hidden, weight, targets, normaliser)
        return target - normaliser

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden, weight, targets, normaliser = ctx.saved_tensors
        (gradient,) = gradients
        buffer = _buffer(hidden, weight)
        of_hidden = torch.zeros_like(hidden)
        # A head that does not learn, as with adapters, needs no gradient of its own.
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for rows, columns in _tiles(len(hidden), len(weight)):
            logits = _logits(hidden[rows], weight[columns], buffer)
            of_logits = logits.sub_(normaliser[rows, None]).exp_().mul_(-gradient[rows, None])
            here = _targets(targets[rows], columns)
            of_logits[here] += gradient[rows][here[0]]
            of_hidden[rows].addmm_(of_logits, weight[columns])
            if of_weight is not None:
                of_weight[columns].addmm_(of_logits.T, hidden[rows])
        return of_hidden, of_weight, None


def use_response_head(model: Any) -> None:
    """Lets a model that TRL has given its fused head use this one, where it is on a CPU and plain.

    A head with a bias, a scale or a soft cap, other devices and lower precision keep TRL's.
    """
    if not _is_plain(Head.of(model)):
        return
    fused = model.forward

    def forward(
        self: Any, *args: Any, fused_lm_head: bool = False, labels: Tensor | None = None, **kwargs: Any
    ) -> Any:
        if not fused_lm_head or labels is None or torch.is_autocast_enabled("cpu"):
            return fused(*args, fused_lm_head=fused_lm_head, labels=labels, **kwargs)
        kwargs["use_cache"] = False
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        mask = labels[:, 1:] != -100
        weight, targets = self.get_output_embeddings().weight, labels[:, 1:][mask]
        values: Tensor = ResponseLogProbs.apply(hidden[mask], weight, targets)  # type: ignore[no-untyped-call]
        log_probs = hidden.new_zeros(mask.shape).masked_scatter(mask, values)
        # TRL asks for these to log them; nobody reads that log.
        unknown = torch.full_like(log_probs, torch.nan)
        return FusedCausalLMOutput(
            log_probs=log_probs,
            entropy=unknown,
            mean_logits=unknown,
            is_top1=torch.zeros_like(mask),
            label_mask=mask,
        )

    model.forward = MethodType(forward, model)


def _is_plain(head: Head) -> bool:
    usual = head.bias is None and head.scale == 1.0 and head.softcap is None
    return usual and head.weight.device.type == "cpu" and head.weight.dtype == torch.float32


def _tiles(positions: int, vocabulary: int) -> list[tuple[slice, slice]]:
    return [
        (slice(row, min(row + ROWS, positions)), slice(column, min(column + COLUMNS, vocabulary)))
        for row in range(0, positions, ROWS)
        for column in range(0, vocabulary, COLUMNS)
    ]


def _buffer(hidden: Tensor, weight: Tensor) -> Tensor:
    # Made once: fresh memory for every tile costs more in page faults than the arithmetic does.
    return hidden.new_empty(min(ROWS, len(hidden)) * min(COLUMNS, len(weight)))


def _logits(hidden: Tensor, weight: Tensor, buffer: Tensor) -> Tensor:
    shape = (len(hidden), len(weight))
    return torch.mm(hidden, weight.T, out=buffer[: shape[0] * shape[1]].view(shape))


def _targets(targets: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Rows whose target lies in the columns, and which of these it is."""
    rows = ((targets >= columns.start) & (targets < columns.stop)).nonzero()[:, 0]
    return rows, targets[rows] - columns.start


def _log_sum_exp(logits: Tensor) -> Tensor:
    """Of each row; overwrites ``logits``."""
    peak = logits.amax(dim=1)
    return logits.sub_(peak[:, None]).exp_().sum(dim=1).log_().add_(peak)
