"""Keeps what TRL's own forward passes produce, so that none of them has to be run again.

TRL computes per-token log-probabilities and throws away everything else. Hooks see the outputs as
they pass, also through a distributed wrapper, and are gone after the step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Recording:
    """Outputs of one forward pass: ``log_probs`` [rows, length - 1] with gradient, ``hidden`` without."""

    def __init__(self) -> None:
        self.log_probs: Tensor | None = None
        self.hidden: Tensor | None = None

    def sums(self) -> Tensor:
        """Log-probability of each response, [rows], in nats."""
        return _there(self.log_probs).sum(dim=1)

    def response_states(self, mask: Tensor) -> Tensor:
        """Final hidden states [positions, hidden] that predict the tokens of ``mask`` [rows, length - 1]."""
        return _there(self.hidden)[:, :-1][mask]

    def keep_output(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self.log_probs = output.log_probs

    def keep_hidden(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self.hidden = output.last_hidden_state.detach()


@contextmanager
def recorded(model: nn.Module, *, hidden: bool) -> Iterator[Recording]:
    """Records the next forward pass of ``model``, and that of its backbone if ``hidden``."""
    recording = Recording()
    handles = [model.register_forward_hook(recording.keep_output)]
    if hidden:
        handles.append(causal_model(model).base_model.register_forward_hook(recording.keep_hidden))
    try:
        yield recording
    finally:
        for handle in handles:
            handle.remove()


def causal_model(model: Any) -> Any:
    """The causal language model itself, beneath an adapter's wrapper where there is one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _there(value: Tensor | None) -> Tensor:
    if value is None:
        raise RuntimeError(
            "nothing was recorded: the model was not called, or hidden states were not asked for"
        )
    return value
