"""The scorer from Python, in three lines; needs neither torch nor a model.

    from selfie.client import Scorer

    with Scorer("localhost:50051") as scorer:
        print(scorer.compare("What is the capital of France?", "Paris.", "The sea is wide.").preferred)

`AsyncScorer` is the same for asyncio. What goes wrong is raised as the errors of `selfie.errors`.
"""

from selfie.client.answers import (
    Calibration,
    Comparison,
    Extrapolated,
    Provenance,
    Ranked,
    Ranking,
    Score,
    Scores,
)
from selfie.client.connections import Tls
from selfie.client.scorers import AsyncScorer, Scorer

__all__ = [
    "AsyncScorer",
    "Calibration",
    "Comparison",
    "Extrapolated",
    "Provenance",
    "Ranked",
    "Ranking",
    "Score",
    "Scorer",
    "Scores",
    "Tls",
]
