"""Refuses to train where the trainer and the scorer do not see the same model and the same tokens.

Both compute the log-probability of the same ids under the same weights, by different code. If they
differ by more than both sides' stated errors, then something else differs: weights, template, ids,
attention kernel. Labels made by one are then no labels for the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from trl.trainer.utils import add_fused_lm_head

from selfie.errors import FailedPrecondition
from selfie.models.loading import load_policy
from selfie.training.trainer.noise_aware import NoiseAwareDPOTrainer
from selfie.training.trainer.parameters import TrainingParameters
from selfie.training.trainer.response_head import use_response_head
from selfie.training.trainer.sources import Sources

SAMPLE = 8
SIDES = ("chosen", "rejected")

_BOUNDS = {"float32": (1e-4, 4e-6), "bfloat16": (0.1, 1e-2)}
"""By precision: what a sum of log-probabilities may be off by, and how much more for each token; nats."""


@dataclass(frozen=True)
class Parity:
    """How far trainer and scorer were apart at worst on ``pairs`` pairs, and how far they might be; nats."""

    pairs: int
    max_error: float
    bound: float


def measure_parity(
    trainer: NoiseAwareDPOTrainer, sources: Sources, parameters: TrainingParameters
) -> Parity | None:
    """Compares the policy as the trainer has it with the round's scores; None for pairs without scores.

    To be called before the training, which changes the policy.
    """
    if parameters.kind == "seed":
        return None
    policy = trainer.model
    if sources.policy != sources.start:
        policy = load_policy(sources.policy, device=str(trainer.accelerator.device))
        add_fused_lm_head(policy)
        use_response_head(policy)

    def logprobs(row: Mapping[str, Any]) -> tuple[float, float]:
        pair = {name: list(row[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids")}
        batch = trainer.data_collator([pair | {"row": 0, "soft_label": 1.0}])
        chosen, rejected = trainer.compute_ref_log_probs(policy, trainer._prepare_inputs(batch))
        return float(chosen), float(rejected)

    return check_parity(
        sample(sources.rows, parameters.random_seed), logprobs, precision=parameters.precision
    )


def trainer_bound(tokens: int, precision: str) -> float:
    """Bound in nats of the trainer's error in a log-probability summed over ``tokens`` tokens."""
    floor, per_token = _BOUNDS[precision]
    return floor + per_token * tokens


def scorer_bound(row: Mapping[str, Any], tokens: int) -> float:
    """Bound in nats of the scorer's error in either sum of a pair, from the tie band that it stated.

    The band is 2 beta times the bounds of both responses, each over its tokens for the mean.
    """
    total = float(row["tie_band"]) / (2 * float(row["beta"]))
    return total * tokens if row["normalization"] == "mean" else total


def sample(rows: Sequence[Mapping[str, Any]], seed: int) -> list[Mapping[str, Any]]:
    """`SAMPLE` of the rows, or all of fewer, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(rows))[:SAMPLE]
    return [rows[index] for index in sorted(chosen)]


def check_parity(
    rows: Sequence[Mapping[str, Any]],
    logprobs: Callable[[Mapping[str, Any]], tuple[float, float]],
    *,
    precision: str,
) -> Parity:
    """Compares ``logprobs`` of each pair, (chosen, rejected), with what the scorer wrote into its row.

    `FailedPrecondition` ``ParityBroken`` names the first pair beyond both bounds, with the numbers.
    """
    worst = bound = 0.0
    for row in rows:
        for side, own in zip(SIDES, logprobs(row), strict=True):
            tokens = len(row[f"{side}_ids"])
            allowed = scorer_bound(row, tokens) + trainer_bound(tokens, precision)
            error = abs(own - float(row[f"{side}_policy_logprob"]))
            # Written so that a sum that is no number is refused too.
            if not error <= allowed:
                raise _broken(row, side, own, allowed)
            worst, bound = max(worst, error), max(bound, allowed)
    return Parity(len(rows), worst, bound)


def _broken(row: Mapping[str, Any], side: str, own: float, allowed: float) -> FailedPrecondition:
    scored = float(row[f"{side}_policy_logprob"])
    return FailedPrecondition(
        "ParityBroken",
        f"pair {row['pair_id']}: the {side} response has the log-probability {own:.6f} for the trainer and "
        f"{scored:.6f} for the scorer, {abs(own - scored):.6f} nats apart; errors explain {allowed:.6f}. "
        "Check that both use the same weights, token ids and attention kernel",
    )
