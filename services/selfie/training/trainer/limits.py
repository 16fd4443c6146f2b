"""Settings of TRL under which its loss is not the one that this trainer adds to: refused, each by name.

TRL has fifteen losses and many ways to bend them. Most of them would still train, on something else
than what the run says.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfie.errors import InvalidInput

Check = tuple[str, Callable[[Any], bool], str]

CHECKS: tuple[Check, ...] = (
    ("loss_type", lambda args: args.loss_type != ["sigmoid"], "['sigmoid']"),
    ("loss_weights", lambda args: args.loss_weights is not None, "None"),
    (
        "label_smoothing",
        lambda args: args.label_smoothing != 0,
        "0: `smoothing` is the smoothing of noisy labels",
    ),
    ("f_divergence_type", lambda args: args.f_divergence_type != "reverse_kl", "'reverse_kl'"),
    ("ld_alpha", lambda args: args.ld_alpha is not None, "None"),
    ("use_weighting", lambda args: args.use_weighting, "False"),
    ("sync_ref_model", lambda args: args.sync_ref_model, "False: the reference is fixed for a round"),
    ("disable_dropout", lambda args: not args.disable_dropout, "True"),
    ("max_length", lambda args: args.max_length is not None, "None: responses are never cut"),
    ("padding_free", lambda args: args.padding_free, "False"),
    ("use_liger_kernel", lambda args: args.use_liger_kernel, "False"),
)
"""(setting, whether its value is refused, the value to use)."""


def refuse_unsupported(args: Any, model: Any, ref_model: Any, *, lam: float) -> None:
    """`InvalidInput` for settings and models that would train something else, silently."""
    for name, refused, remedy in CHECKS:
        if refused(args):
            raise InvalidInput(f"args.{name}", f"{getattr(args, name)!r} is not supported", f"use {remedy}")
    if lam > 0 and args.precompute_ref_log_probs:
        raise InvalidInput(
            "args.precompute_ref_log_probs",
            "gives sums only, and lambda needs whole rows",
            "use it with lambda 0",
        )
    _refuse_reference(model, ref_model)


def _refuse_reference(model: Any, ref_model: Any) -> None:
    if ref_model is None:
        raise InvalidInput(
            "ref_model",
            "is missing, and would be loaded again by the model's name",
            "pass the round's policy",
        )
    learning = {parameter.data_ptr() for parameter in model.parameters()}
    if any(parameter.data_ptr() in learning for parameter in ref_model.parameters()):
        raise InvalidInput("ref_model", "shares weights with the model that learns", "load it a second time")
    if Path(ref_model.config.name_or_path, "trainer_state.json").exists():
        raise InvalidInput(
            "ref_model",
            "is a checkpoint from the middle of a training",
            "pass the policy that the round started from",
        )
