"""How parameters become a trainer's settings: steps, micro-batches, window and warm-up."""

from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.programs import parse
from selfie.errors import InvalidInput
from selfie.method.noise import OnlineThreshold, ParityThreshold
from selfie.training.trainer.assembly import (
    configuration,
    micro_batch,
    noise_awareness,
    rounds_products,
    total_steps,
)
from selfie.training.trainer.parameters import TrainingParameters


def parameters(**changes: Any) -> TrainingParameters:
    plain = {
        "attempt": {"runUri": "file:///runs/a", "step": "rounds/01/train", "number": 1, "runUid": "u"},
        "kind": "round",
        "policy": {"step": "rounds/00/publish", "digest": "0" * 64},
        "pairs": {"path": "rounds/01/filter/manifest.json", "sha256": "0" * 64, "group": "pairs"},
        "learningRate": 5e-6,
        "cacheDir": "/cache",
    }
    return parse(TrainingParameters, plain | changes)


@pytest.mark.parametrize(
    ("batch", "limit", "ranks", "size"), [(32, 4, 1, 4), (6, 4, 1, 3), (8, 8, 4, 2), (7, 3, 1, 1)]
)
def test_a_step_is_cut_into_equal_parts_within_the_limit(
    batch: int, limit: int, ranks: int, size: int
) -> None:
    assert micro_batch(parameters(batch=batch, microBatch=limit), ranks) == size


def test_ranks_that_cannot_share_a_step_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"parameters.batch: 8 pairs can't be shared by 3 ranks"):
        micro_batch(parameters(batch=8), 3)


def test_products_are_rounded_only_where_that_is_asked_for_and_possible() -> None:
    assert not rounds_products(parameters(), possible=True)
    assert not rounds_products(parameters(), possible=False)
    assert rounds_products(parameters(precision="bfloat16"), possible=True)
    with pytest.raises(InvalidInput, match=r"parameters.precision: this GPU has no bfloat16"):
        rounds_products(parameters(precision="bfloat16"), possible=False)


def test_an_epochs_last_step_may_be_short() -> None:
    assert total_steps(parameters(batch=8, epochs=3), 17) == 9
    assert total_steps(parameters(batch=8, maxSteps=2), 17) == 2


def test_window_and_warm_up_follow_the_round() -> None:
    threshold = noise_awareness(parameters(batch=8), 64).threshold
    assert isinstance(threshold, OnlineThreshold)
    assert (threshold.window, threshold.warmup_steps) == (16, 2)
    chosen = noise_awareness(parameters(batch=8, window=5, warmupPercent=50), 64).threshold
    assert isinstance(chosen, OnlineThreshold)
    assert (chosen.window, chosen.warmup_steps) == (5, 4)
    assert isinstance(noise_awareness(parameters(threshold="parity"), 64).threshold, ParityThreshold)


@pytest.mark.parametrize("refinement", ["offline", "none"])
def test_only_the_online_refinement_extrapolates(refinement: str) -> None:
    noise = noise_awareness(parameters(refinement=refinement, **{"lambda": 0.5}), 64)
    assert (noise.threshold, noise.lam) == (None, 0)


@pytest.mark.parametrize(
    ("changes", "precomputed"),
    [({"epochs": 3}, True), ({}, False), ({"epochs": 3, "lambda": 0.5}, False)],
    ids=str,
)
def test_reference_sums_are_computed_once_where_that_saves_anything(
    changes: dict[str, Any], precomputed: bool, tmp_path: Path
) -> None:
    assert (
        configuration(parameters(batch=8, **changes), tmp_path, pairs=20).precompute_ref_log_probs
        is precomputed
    )
