"""Fills in what a specification leaves to its defaults, so that nothing is left to guess."""

from dataclasses import dataclass

from selfie.runs.decimals import to_decimal
from selfie.runs.spec import RunSpec


@dataclass(frozen=True)
class RoundSettings:
    """What one round really uses; round 0 is the seed."""

    learning_rate: float
    epochs: int
    lambda_: float
    scoring_lambda: float


def default_lambda(number: int) -> float:
    """Extrapolation of round ``number`` (from 1): 1/2, 1/4, 1/8, then halving (arXiv 2406.04412)."""
    return 0.5**number


def resolved(spec: RunSpec) -> RunSpec:
    """The same specification with every round's own values written out."""
    rounds = tuple(
        entry.model_copy(
            update={
                "learning_rate": entry.learning_rate or spec.training.learning_rate,
                "epochs": entry.epochs or spec.training.epochs,
                "lambda_": entry.lambda_ or to_decimal(default_lambda(number)),
            }
        )
        for number, entry in enumerate(spec.rounds, start=1)
    )
    return spec.model_copy(update={"rounds": rounds})


def settings_of(spec: RunSpec, number: int) -> RoundSettings:
    """What round ``number`` uses; the judge measured after round 0 extrapolates as in round 1."""
    entry = resolved(spec).rounds[max(number, 1) - 1]
    strength = float(entry.lambda_ or 0)
    if spec.scoring.lambda_ is not None:
        scoring = float(spec.scoring.lambda_)
    else:
        scoring = 0.0 if spec.scoring.reference == "none" else strength
    if number == 0:
        seed = spec.seed
        rate, epochs = (float(seed.learning_rate), seed.epochs) if seed else (0.0, 0)
        return RoundSettings(rate, epochs, lambda_=0.0, scoring_lambda=scoring)
    return RoundSettings(float(entry.learning_rate or 0), entry.epochs or 0, strength, scoring)


def pairs_at_once(spec: RunSpec) -> int:
    """Pairs that one device takes at once: the largest divisor of its share within microBatch."""
    share = spec.training.batch // (spec.nodes * max(spec.gpus_per_node, 1))
    return max(size for size in range(1, min(spec.micro_batch, share) + 1) if share % size == 0)
