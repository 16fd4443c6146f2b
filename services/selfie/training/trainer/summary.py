"""What a training amounts to, in the counts and measures of its manifest."""

import torch

from selfie.method.noise import OnlineThreshold
from selfie.training.trainer.noise_aware import NoiseAwareDPOTrainer


def counts(trainer: NoiseAwareDPOTrainer) -> dict[str, int]:
    """Pairs, optimizer steps, pairs seen in all epochs, those of them taken to be noisy, tokens read."""
    steps = trainer.steps
    return {
        "pairs": len(trainer.train_dataset),
        "steps": len(steps),
        "pairs_seen": sum(step.pairs for step in steps),
        "z_ones": sum(step.noisy for step in steps),
        "tokens": sum(step.tokens for step in steps),
    }


def measures(trainer: NoiseAwareDPOTrainer, *, seconds: float) -> dict[str, float]:
    """Loss and accuracy, how busy the noise detector was, and how fast it went.

    ``noisy_steps`` counts the steps in which a threshold was in force: 0 means that the detector
    never worked, whatever it was set to. ``train_accuracy`` is that of the last epoch, of each pair
    before it was learned from. ``seconds``, ``threads`` and the speeds are those of the last start;
    with another number of threads the same training gives the same weights only up to rounding.
    """
    steps, threshold = trainer.steps, trainer.noise.threshold
    seen = counts(trainer)
    last = steps[-trainer.order.steps_per_epoch :]
    here = steps[trainer.first_step :]
    return {
        "loss_first": steps[0].loss,
        "loss_last": steps[-1].loss,
        "train_accuracy": sum(s.accuracy * s.pairs for s in last) / sum(s.pairs for s in last),
        "margin_last": steps[-1].margin,
        "z_ones": float(seen["z_ones"]),
        "noisy_share": seen["z_ones"] / seen["pairs_seen"],
        "noisy_steps": float(sum(step.threshold is not None for step in steps)),
        "window": float(threshold.window) if isinstance(threshold, OnlineThreshold) else 0.0,
        "warmup_steps": 0.0 if threshold is None else float(threshold.warmup_steps),
        "steps": float(len(steps)),
        "seconds": seconds,
        "threads": float(torch.get_num_threads()),
        "tokens_per_second": sum(step.tokens for step in here) / seconds,
        "pairs_per_second": sum(step.pairs for step in here) / seconds,
    }
