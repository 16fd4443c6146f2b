"""Settings under which TRL would silently train another loss are refused by name."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from selfie.errors import InvalidInput
from selfie.training.trainer.limits import CHECKS, refuse_unsupported

ALLOWED = {
    "loss_type": ["sigmoid"],
    "loss_weights": None,
    "label_smoothing": 0.0,
    "f_divergence_type": "reverse_kl",
    "ld_alpha": None,
    "use_weighting": False,
    "sync_ref_model": False,
    "disable_dropout": True,
    "max_length": None,
    "padding_free": False,
    "use_liger_kernel": False,
    "precompute_ref_log_probs": False,
}
REFUSED = [
    ("loss_type", ["ipo"]),
    ("loss_type", ["sigmoid", "sft"]),
    ("loss_type", ["robust"]),
    ("loss_weights", [1.0]),
    ("label_smoothing", 0.1),
    ("f_divergence_type", "js_divergence"),
    ("ld_alpha", 0.5),
    ("use_weighting", True),
    ("sync_ref_model", True),
    ("disable_dropout", False),
    ("max_length", 1024),
    ("padding_free", True),
    ("use_liger_kernel", True),
]


class Model(torch.nn.Linear):
    """As much of a model as is looked at."""

    def __init__(self, name: str = "") -> None:
        super().__init__(2, 2)
        self.config = SimpleNamespace(name_or_path=name)


def settings(**changes: Any) -> Any:
    return SimpleNamespace(**(ALLOWED | changes))


def test_what_the_trainer_is_written_for_is_allowed() -> None:
    refuse_unsupported(settings(), Model(), Model(), lam=0.5)
    refuse_unsupported(settings(precompute_ref_log_probs=True), Model(), Model(), lam=0)


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=str)
def test_another_loss_is_refused_by_the_name_of_its_setting(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        refuse_unsupported(settings(**{name: value}), Model(), Model(), lam=0)
    assert caught.value.field == f"args.{name}"


def test_every_check_is_tried_here() -> None:
    assert {name for name, _, _ in CHECKS} == {name for name, _ in REFUSED}


def test_precomputed_sums_are_refused_with_extrapolation() -> None:
    with pytest.raises(InvalidInput, match="lambda needs whole rows"):
        refuse_unsupported(settings(precompute_ref_log_probs=True), Model(), Model(), lam=0.5)


def test_a_missing_reference_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ref_model: is missing"):
        refuse_unsupported(settings(), Model(), None, lam=0)


def test_a_reference_that_would_learn_along_is_refused() -> None:
    learner, reference = Model(), Model()
    reference.weight = learner.weight
    with pytest.raises(InvalidInput, match="shares weights"):
        refuse_unsupported(settings(), learner, reference, lam=0)


def test_a_reference_from_the_middle_of_a_training_is_refused(tmp_path: Any) -> None:
    (tmp_path / "trainer_state.json").write_text("{}")
    with pytest.raises(InvalidInput, match="from the middle of a training"):
        refuse_unsupported(settings(), Model(), Model(str(tmp_path)), lam=0)
