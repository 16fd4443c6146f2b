"""The log-partition from hidden states is that of the extrapolated distribution."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfie.method.extrapolation import log_partition as from_logits
from selfie.training.trainer.log_partition import COLUMNS, Head, log_partition

HIDDEN = 16


def head(*, seed: int, vocabulary: int = 50, **shape: float) -> Head:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(vocabulary, HIDDEN, generator=generator)
    bias = torch.randn(vocabulary, generator=generator) if shape.pop("biased", 0) else None
    return Head(weight, bias, shape.get("scale", 1.0), shape.get("softcap"))


def states(positions: int, *, seed: int) -> torch.Tensor:
    return torch.randn(positions, HIDDEN, generator=torch.Generator().manual_seed(seed))


def full_logits(hidden: torch.Tensor, of: Head) -> np.ndarray:
    logits = hidden.double() @ of.weight.double().T
    if of.bias is not None:
        logits = logits + of.bias.double()
    logits = logits * of.scale
    if of.softcap is not None:
        logits = of.softcap * torch.tanh(logits / of.softcap)
    return logits.numpy()


@pytest.mark.parametrize("lam", [0.125, 0.5, 2.0])
@pytest.mark.parametrize("shape", [{}, {"biased": 1}, {"scale": 0.3}, {"softcap": 5.0}], ids=str)
def test_tiles_give_what_the_whole_vocabulary_gives_in_float64(lam: float, shape: dict[str, float]) -> None:
    ours, theirs = head(seed=1, **shape), head(seed=2, **shape)
    policy, reference = states(7, seed=3), states(7, seed=4)
    found = log_partition(policy, reference, lam, policy_head=ours, reference_head=theirs)
    expected = from_logits(full_logits(policy, ours), full_logits(reference, theirs), lam)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=3e-5)


def test_more_positions_and_words_than_a_tile_holds_make_no_difference() -> None:
    ours = head(seed=1, vocabulary=COLUMNS + 37)
    theirs = head(seed=2, vocabulary=COLUMNS + 37)
    policy, reference = states(300, seed=3), states(300, seed=4)
    found = log_partition(policy, reference, 0.5, policy_head=ours, reference_head=theirs)
    expected = from_logits(full_logits(policy, ours), full_logits(reference, theirs), 0.5)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=3e-5)


def test_equal_models_have_a_log_partition_of_zero() -> None:
    ours, hidden = head(seed=1), states(5, seed=3)
    found = log_partition(hidden, hidden, 0.5, policy_head=ours, reference_head=ours)
    np.testing.assert_allclose(found.numpy(), 0, atol=1e-5)


def test_no_positions_give_no_values() -> None:
    ours, none = head(seed=1), states(0, seed=3)
    assert log_partition(none, none, 0.5, policy_head=ours, reference_head=ours).shape == (0,)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 1.0),
        ({"logit_scale": 0.25}, 0.25),
        ({"output_multiplier": 0.5}, 0.5),
        ({"lm_head_multiplier": 3.0}, 3.0),
        ({"logits_scaling": 4.0, "model_type": "granite"}, 0.25),
        ({"logits_scaling": 4.0, "model_type": "hyperclovax"}, 4.0),
    ],
    ids=str,
)
def test_a_head_is_scaled_as_its_configuration_says(settings: dict[str, object], scale: float) -> None:
    config = SimpleNamespace(
        get_text_config=lambda: SimpleNamespace(final_logit_softcapping=30.0, **settings)
    )
    projection = SimpleNamespace(weight=torch.zeros(3, 2), bias=None)
    found = Head.of(SimpleNamespace(get_output_embeddings=lambda: projection, config=config))
    assert (found.scale, found.softcap) == (scale, 30.0)
