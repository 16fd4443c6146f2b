"""The tiled reduction against the plain float64 reading of the same formulas."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from selfie.scoring.head import Head, Projected, Tile, score_tokens, score_tokens_alone

TOKENS, HIDDEN, VOCABULARY = 23, 16, 150
SMALL_TILE = Tile(tokens=7, columns=32)


def projected(seed: int, **head: Any) -> Projected:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    return Projected(Head(weight, **head), hidden)


def plain_logits(model: Projected) -> Tensor:
    head = model.head
    logits = model.hidden.double() @ head.weight.double().T
    logits = (logits if head.bias is None else logits + head.bias.double()) * head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


@pytest.fixture
def targets() -> Tensor:
    return torch.randint(VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(3))


HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with a bias": {"bias": torch.linspace(-1, 1, VOCABULARY)},
    "with a soft cap": {"softcap": 5.0},
    "with a scale": {"scale": 0.25},
    "with all of them": {"bias": torch.linspace(-1, 1, VOCABULARY), "softcap": 3.0, "scale": 0.5},
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_every_kind_of_head_gives_the_log_softmax_of_its_targets(
    head: dict[str, Any], targets: Tensor
) -> None:
    policy, reference = projected(1, **head), projected(2, **head)
    scores = score_tokens(policy, reference, targets, tile=SMALL_TILE)
    for model, actual in [(policy, scores.policy), (reference, scores.reference)]:
        expected = plain_logits(model).log_softmax(-1).gather(1, targets[:, None])[:, 0]
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_the_log_partition_is_that_of_the_mixed_logits(head: dict[str, Any], targets: Tensor) -> None:
    policy, reference = projected(1, **head), projected(2, **head)
    lambdas = (0.0, 0.125, 0.5, 2.0)
    scores = score_tokens(policy, reference, targets, lambdas=lambdas, tile=SMALL_TILE)
    plain, other = plain_logits(policy).log_softmax(-1), plain_logits(reference).log_softmax(-1)
    expected = torch.stack([((1 + lam) * plain - lam * other).logsumexp(-1) for lam in lambdas])
    torch.testing.assert_close(scores.log_z, expected, rtol=1e-5, atol=1e-5)
    assert (scores.log_z[0] == 0).all()


def test_the_divergence_is_the_exact_kl_of_policy_from_reference(targets: Tensor) -> None:
    policy, reference = projected(1), projected(2)
    scores = score_tokens(policy, reference, targets, divergence=True, tile=SMALL_TILE)
    plain, other = plain_logits(policy).log_softmax(-1), plain_logits(reference).log_softmax(-1)
    expected = (plain.exp() * (plain - other)).sum(-1)
    torch.testing.assert_close(scores.divergence, expected, rtol=1e-5, atol=1e-5)


def test_equal_models_have_no_partition_and_no_divergence(targets: Tensor) -> None:
    policy = projected(1)
    scores = score_tokens(policy, policy, targets, lambdas=(1.0,), divergence=True, tile=SMALL_TILE)
    assert scores.divergence is not None
    assert scores.log_z.abs().max() < 1e-5
    assert scores.divergence.abs().max() < 1e-5
    assert torch.equal(scores.policy, scores.reference)


@pytest.mark.parametrize("tile", [Tile(1, 1), Tile(5, 150), Tile(100, 7), Tile(23, 149)])
def test_the_tile_changes_nothing(tile: Tile, targets: Tensor) -> None:
    policy, reference = projected(1), projected(2)
    whole = score_tokens(policy, reference, targets, lambdas=(0.5,), divergence=True, tile=Tile(99, 999))
    tiled = score_tokens(policy, reference, targets, lambdas=(0.5,), divergence=True, tile=tile)
    for name in ("policy", "reference", "log_z", "divergence"):
        torch.testing.assert_close(getattr(tiled, name), getattr(whole, name), rtol=1e-5, atol=1e-5)


def test_huge_logits_do_not_overflow(targets: Tensor) -> None:
    policy, reference = projected(1, scale=1000.0), projected(2, scale=1000.0)
    scores = score_tokens(policy, reference, targets, lambdas=(0.5,), divergence=True, tile=SMALL_TILE)
    expected = plain_logits(policy).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(scores.policy, expected, rtol=1e-5, atol=1e-2)
    assert scores.divergence is not None
    assert torch.isfinite(scores.divergence).all()


def test_one_model_alone_scores_as_it_does_beside_another(targets: Tensor) -> None:
    policy, reference = projected(1), projected(2)
    alone = score_tokens_alone(policy, targets, tile=SMALL_TILE)
    beside = score_tokens(policy, reference, targets, tile=SMALL_TILE)
    assert torch.equal(alone, beside.policy)


class LargestFloat32(TorchDispatchMode):
    """Keeps the number of elements of the largest float32 tensor that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [t.numel() for t in tree_leaves(result) if isinstance(t, Tensor) and t.dtype == torch.float32]
        self.elements = max(self.elements, *sizes, 0)
        return result


def test_no_float32_tensor_of_all_tokens_by_all_of_the_vocabulary_is_made(targets: Tensor) -> None:
    policy, reference = projected(1), projected(2)
    with LargestFloat32() as largest:
        score_tokens(policy, reference, targets, lambdas=(0.5, 1.0), divergence=True, tile=SMALL_TILE)
    gathered = TOKENS * HIDDEN
    assert largest.elements <= max(SMALL_TILE.columns * HIDDEN, gathered) < TOKENS * VOCABULARY


def test_the_recorder_sees_the_tensor_of_a_plain_log_softmax() -> None:
    policy = projected(1)
    with LargestFloat32() as largest:
        (policy.hidden @ policy.head.weight.T).log_softmax(-1)
    assert largest.elements == TOKENS * VOCABULARY
